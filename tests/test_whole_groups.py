"""A dump that lost rows inside a group or a visit is refused by everything that reads groups, by file and row."""

import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from openrlhf_marge.cli import build_pairs, figures, report
from openrlhf_marge.data.dump import dump_files
from openrlhf_marge.data.dump_reading import read_groups
from openrlhf_marge.data.replay import Replay
from openrlhf_marge.data.visits import check_whole
from openrlhf_marge.figures.dump_totals import read_totals
from openrlhf_marge.pairs import reading as pairs_reading
from openrlhf_marge.report.reading import find_visits

from scripted_dumps import mixed, save_model, visit, write_dump

# Two visits of three states with 4, 3 and 2 completions; rows are counted from 1.
SIZES = (4, 3, 2)
READERS = {
    "replay": lambda path: list(read_groups(path)),
    "pairs": lambda path: list(pairs_reading.read_visits(path)),
    "report": find_visits,
    "figures": read_totals,
}
GROUP = "from row {} on a state of the problem 'What is 3+4+1+1?' has {}, where the run wrote {}: rows are"
VISIT = "from row {} on a visit of the problem 'What is 3+4+1+1?' has {}, where the run wrote {}: rows are"
ROWS = list(range(18))
BAD = {
    "cut inside the last group": (ROWS[:17], GROUP.format(17, "1 completion", 2)),
    "cut inside the first visit's first group": (ROWS[:3], GROUP.format(1, "3 completions", 4)),
    "cut between two groups": (ROWS[:16], VISIT.format(10, "2 states", 3)),
    "without its first row": (ROWS[1:], GROUP.format(1, "3 completions", 4)),
    "without its first group": (ROWS[4:], VISIT.format(1, "2 states", 3)),
    "without a group in the middle": (ROWS[:4] + ROWS[7:], VISIT.format(1, "2 states", 3)),
    "a row doubled": (ROWS[:5] + ROWS[4:], GROUP.format(5, "4 completions", 3)),
    "rows of two groups exchanged": ([0, 1, 2, 4, 3, *ROWS[5:]], GROUP.format(1, "3 completions", 4)),
    "shuffled": (list(np.random.default_rng(0).permutation(18)), "rows are missing, doubled or in another order"),
}  # fmt: skip


def states():
    return [mixed(n // 2, n - n // 2) for n in SIZES]


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    folder = write_dump(tmp_path_factory.mktemp("whole"), [*visit(states()), *visit(states(), number=1)])
    return pq.read_table(*dump_files(folder))


@pytest.fixture
def written(tmp_path):
    def written(table):
        path = tmp_path / "dump" / "rollout-00000001.parquet"
        path.parent.mkdir(exist_ok=True)
        pq.write_table(table, path)
        return path

    return written


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("bad", BAD)
def test_rows_that_are_missing_are_named(table, written, monkeypatch, reader, bad):
    monkeypatch.setattr(pairs_reading, "BATCH_ROWS", 5)
    kept, said = BAD[bad]
    path = written(table.take(kept))
    with pytest.raises(ValueError, match=re.escape(said)) as error:
        READERS[reader](path)
    assert str(error.value).startswith(f"{path}: from row ")


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("kept", [ROWS, ROWS[:9], ROWS[9:], [*ROWS[9:], *ROWS[:9]], []])
def test_whole_visits_may_be_taken_out_or_come_in_another_order(table, written, reader, kept):
    READERS[reader](written(table.take(pa.array(kept, pa.int64()))))


@pytest.mark.parametrize("reader", READERS)
def test_of_a_version_that_did_not_write_the_sizes_the_states_are_counted(table, written, reader):
    old = table.drop_columns(["group_size"])
    assert READERS[reader](written(old))
    with pytest.raises(ValueError, match=re.escape(VISIT.format(10, "2 states", 3))):
        READERS[reader](written(old.take(ROWS[:16])))


def test_the_row_is_that_of_the_file_where_rows_were_read_before(table):
    with pytest.raises(ValueError, match=re.escape(GROUP.format(117, "1 completion", 2))):
        check_whole(table.take(ROWS[:17]), 100)


@pytest.mark.parametrize("command", ["build_pairs", "report", "figures"])
def test_a_command_ends_with_the_sentence_and_writes_nothing(table, written, tmp_path, capsys, command):
    path, model = written(table.take(ROWS[:17])), save_model(tmp_path / "model")
    run = {
        "build_pairs": lambda: build_pairs.main(
            [*f"{path.parent} --kind sft --model {model}".split(), "--out", f"{tmp_path}/rows.jsonl"]
        ),
        "report": lambda: report.main([*f"{tmp_path} --model {model}".split(), "--out", f"{tmp_path}/rows.html"]),
        "figures": lambda: figures.main([str(tmp_path), "--out", f"{tmp_path}/rows"]),
    }[command]
    assert run() == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith(f"{command}: error: {path}: {GROUP.format(17, '1 completion', 2)}")
    assert not list(tmp_path.glob("rows*"))


def test_the_episodes_of_a_replay_have_groups_of_their_own(tmp_path):
    replay = Replay(write_dump(tmp_path, visit([mixed(1, 1), mixed(1, 1), mixed(0, 1)])))
    (first, n, over), (second, _, _) = replay.next(), replay.next()
    assert (n, over, len(first)) == (1, True, 3)
    assert not {g.id for g in first} & {g.id for g in second} and len({g.id for g in first}) == 3
    assert [g.completions for g in first] == [g.completions for g in second]
