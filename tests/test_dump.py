import dataclasses
from dataclasses import replace

import datasets
import pyarrow.parquet
import pytest

from openrlhf_marge.data.dump import DumpWriter, candidates_path, dump_files, is_candidates
from openrlhf_marge.data.dump_reading import count_trained, read_groups, stop_texts

from factories import completion, group
from scripted_dumps import mixed, visit, write_dump


def groups():
    """A visit of two states, and one of s_0 alone."""
    full = group(3, rewards=(1.0, 0.0, 0.0), n_states=2)
    rich = dataclasses.replace(
        group(4, index=2, n_states=2), value_gain=-0.25,
        completions=(
            completion(0.5, log_probs=(-0.5, -0.25), extra_logs=(("no_answer", 1.0),), weight_versions=(2, 3)),
        ),
    )  # fmt: skip
    bare = dataclasses.replace(group(5), state=dataclasses.replace(group(5).state, guidance=None))
    return [full, rich, bare]


def write(folder, *steps):
    writer = DumpWriter(folder, "mean")
    for step in steps:
        writer.write(step, groups())
    writer.wait()


def test_the_stop_texts_of_a_run_are_in_its_files_and_nothing_where_there_are_none(tmp_path):
    for name, stop in (("with", ("\n\nQ:", "END")), ("without", ())):
        writer = DumpWriter(tmp_path / name, "mean", stop)
        writer.write(1, groups(), groups()[2:])
        writer.wait()
        (path,) = dump_files(tmp_path / name)
        schemas = [pyarrow.parquet.read_schema(p) for p in (path, candidates_path(path))]
        assert [stop_texts(schema) for schema in schemas] == [stop, stop]
        assert list(read_groups(path)) == groups()
    assert schemas[0].metadata is None


def test_groups_come_back_as_they_were(tmp_path):
    write(tmp_path, 7)
    (path,) = dump_files(tmp_path)
    assert list(read_groups(path)) == groups()
    assert count_trained([path]) == 6


def test_it_is_a_data_set_with_a_row_per_completion(tmp_path):
    write(tmp_path, 1, 2)
    data = datasets.load_dataset("parquet", data_files=str(tmp_path / "*.parquet"), split="train", cache_dir=tmp_path)
    assert data["step"] == [1] * 6 + [2] * 6
    row = data[0]
    assert (row["group_id"], row["state_index"], row["prefix_length"], row["token_ids"]) == (3, 0, 0, [5, 0])
    assert row["guidance_id"] == groups()[0].state.guidance.id
    assert data["advantage"][:3] == pytest.approx([2 / 3, -1 / 3, -1 / 3])


def test_files_are_in_order_of_their_rollouts(tmp_path):
    write(tmp_path, 10, 9, 100)
    assert [p.stem for p in dump_files(tmp_path)] == ["rollout-00000009", "rollout-00000010", "rollout-00000100"]


def test_what_cannot_be_read_is_named(tmp_path):
    with pytest.raises(ValueError, match="holds no rollout-"):
        dump_files(tmp_path)
    torn = tmp_path / "rollout-00000001.parquet"
    torn.write_bytes(b"PAR1")
    with pytest.raises(ValueError, match=r"rollout-00000001\.parquet is not a whole dump file"):
        list(read_groups(torn))


def test_an_error_in_the_background_is_raised_by_the_next_call(tmp_path):
    writer = DumpWriter(tmp_path / "gone", "mean")
    (tmp_path / "gone").rmdir()
    writer.write(1, groups())
    with pytest.raises(OSError):
        writer.write(2, groups())


def test_candidates_are_in_a_file_of_their_own_that_nothing_trains_on(tmp_path):
    writer = DumpWriter(tmp_path, "mean")
    writer.write(1, groups(), [dataclasses.replace(groups()[2], id=6)])
    writer.wait()
    (rollout,) = dump_files(tmp_path)
    assert list(read_groups(rollout)) == groups()
    (candidates,) = read_groups(candidates_path(rollout))
    assert candidates.id == 6 and candidates.completions == groups()[2].completions
    rows = pyarrow.parquet.read_table(candidates_path(rollout)).to_pylist()
    assert [row["advantage"] for row in rows] == [0.0, 0.0]
    assert is_candidates(candidates_path(rollout)) and not is_candidates(rollout)


def test_a_rollout_written_again_without_candidates_has_none(tmp_path):
    writer = DumpWriter(tmp_path, "mean")
    writer.write(1, groups(), groups()[2:])
    writer.write(1, groups())
    writer.wait()
    assert [path.name for path in tmp_path.iterdir()] == ["rollout-00000001.parquet"]


def test_what_a_clock_measured_is_not_in_the_file(tmp_path):
    timed = completion(1.0, extra_logs=(("grader_timeout", 0.0), ("grader_wait_seconds", 0.25), ("seconds", 2.0)))
    writer = DumpWriter(tmp_path, "mean")
    writer.write(1, [dataclasses.replace(group(3), completions=(timed,))])
    writer.wait()
    (read,) = read_groups(*dump_files(tmp_path))
    assert read.completions[0].extra_logs == (("grader_timeout", 0.0), ("seconds", 2.0))


def test_that_s0_chose_its_guidance_survives_the_dump(tmp_path):
    made = [replace(g, chose_guidance=g.state.index == 0) for g in visit([mixed(1, 1)] * 3)]
    assert [g.chose_guidance for g in read_groups(next(write_dump(tmp_path, made).glob("*.parquet")))] == [
        True,
        False,
        False,
    ]


def test_the_advantage_is_the_trained_one_with_its_weight_also_of_tokens(tmp_path):
    """vineppo and the trees bring advantages per token, which training weighs, too; ``advantages`` are theirs."""
    own = tuple(completion(0.0, advantages=a) for a in ((-1.0, -1.0), (-1.0, 1.0)))
    writer = DumpWriter(tmp_path, "mean", (), 0.5)
    writer.write(1, [group(0, (1.0, 0.0)), replace(group(1), completions=own)])
    writer.wait()
    (path,) = dump_files(tmp_path)
    rows = pyarrow.parquet.read_table(path).to_pylist()
    assert [row["advantage"] for row in rows] == [0.5, -0.25, -0.5, 0.25]
    assert [row["advantages"] for row in rows] == [None, None, [-1.0, -1.0], [-1.0, 1.0]]
