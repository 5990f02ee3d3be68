import dataclasses
import functools
import itertools
import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import datasets
import pytest
from transformers import GenerationConfig

from openrlhf_marge import Completion
from openrlhf_marge.cli.build_pairs import main
from openrlhf_marge.host.rollout.tokens import encode
from openrlhf_marge.models import generation_eos_ids
from openrlhf_marge.pairs.stops import with_eos

from scripted_dumps import (
    COT_PREFIX,
    GUIDANCE,
    RIGHT,
    WRONG,
    completion,
    mixed,
    problem,
    save_model,
    tokenizer,
    visit,
    write_dump,
)  # fmt: skip


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_model(tmp_path_factory.mktemp("model"))


@pytest.fixture
def build(tmp_path, model, capsys):
    """Rows of the groups given, and what was printed."""

    count = itertools.count()

    def run(kind, *rollouts, flags="", out="rows.jsonl", stop=()):
        generation_eos_ids.cache_clear()
        dump = write_dump(tmp_path / f"dump{next(count)}", *rollouts, stop=stop)
        status = main([str(dump), "--kind", kind, "--model", model, "--out", str(tmp_path / out), *flags.split()])
        said = capsys.readouterr()
        if status:
            return status, said.err.splitlines()[-1]
        return [json.loads(line) for line in (tmp_path / out).read_text().splitlines()], said.out

    return run


def good_visit(**kwargs):
    """s_0 and the second state have pairs; from the third on nothing is correct."""
    return visit([mixed(2, 2), mixed(1, 2), mixed(0, 3)], **kwargs)


def reward_dataset(path, max_len=300):
    from openrlhf.datasets.reward_dataset import RewardDataset

    keys = dict(prompt_key="prompt", chosen_key="chosen", rejected_key="rejected", apply_chat_template=False)
    data = datasets.load_dataset("json", data_files=str(path), split="train", cache_dir=path.parent / "cache")
    strategy = SimpleNamespace(args=SimpleNamespace(data=SimpleNamespace(**keys)))
    return RewardDataset(data, tokenizer(), max_len, strategy, is_dpo=True, num_processors=1)


@pytest.mark.parametrize("kind", ["marge", "outcome", "self_explore"])
def test_openrlhf_trains_on_the_ids_that_were_sampled(build, tmp_path, kind):
    groups = good_visit() + good_visit(of=problem("What is 7-1?"), number=1)
    rows, _ = build(kind, groups)
    sampled = {
        g.problem.prompt_ids + g.state.prefix_ids + c.token_ids: c.is_correct for g in groups for c in g.completions
    }
    guided = [g.problem.prompt_ids + g.state.guidance.token_ids + (tokenizer().eos_token_id,) for g in groups]
    contexts = {g.problem.prompt_ids + g.state.prefix_ids for g in groups}
    data = reward_dataset(tmp_path / "rows.jsonl")
    assert len(data) == len(rows) == {"marge": 4, "outcome": 2, "self_explore": 2}[kind]
    for chosen, _, rejected, _, prompt_length in data:
        chosen, rejected = (tuple(ids[0].tolist()) for ids in (chosen, rejected))
        assert sampled[chosen]
        assert rejected in guided if kind == "self_explore" else not sampled[rejected]
        assert chosen[:prompt_length] == rejected[:prompt_length] and chosen[:prompt_length] in contexts
        assert chosen[-1] == rejected[-1] == tokenizer().eos_token_id not in chosen[prompt_length:-1]


def test_a_pair_of_a_state_tells_where_it_is_from(build):
    rows, _ = build("marge", good_visit())
    assert [(r["state_index"], r["value"], r["label"]) for r in rows] == [(0, 0.5, "9"), (1, 1 / 3, "9")]
    assert rows[1]["prompt"] == problem().prompt + COT_PREFIX + " 3+4=7\nStep 2:"
    assert rows[1]["chosen"] == f" 0{RIGHT}<|im_end|>" and rows[1]["rejected"].endswith(f"{WRONG}<|im_end|>")


def test_the_range_of_values_and_several_pairs(build):
    groups = good_visit()
    rows, said = build("marge", groups, flags="--min_value 0.4 --pairs_per_state 3")
    assert {r["state_index"] for r in rows} == {0} and len({(r["chosen"], r["rejected"]) for r in rows}) == 3
    assert {r["chosen"] for r in rows[:2]} == {r["chosen"] for r in rows}  # none comes back before all were there
    for reason in ("1 states with a share of correct completions outside", "1 states with usable completions of one"):
        assert reason in said
    rows, said = build("marge", groups, flags="--closest_only")
    assert [r["state_index"] for r in rows] == [0] and "(--closest_only)" in said
    assert len(build("marge", groups, flags="--pairs_per_state 99")[0]) == 4 + 2


def test_the_longest_common_start_is_preferred(build):
    s0 = [completion(" abc"), completion(" xyz"), completion(" abd", 0.0), completion(" q", 0.0)]
    rows, _ = build("outcome", visit([s0, mixed(1, 0), mixed(1, 0)]), flags="--longest_common")
    assert (rows[0]["chosen"], rows[0]["rejected"]) == (" abc<|im_end|>", " abd<|im_end|>")


def test_what_does_not_survive_is_left_out_and_counted(build):
    spelled = [i for char in "Step 1:" for i in encode(tokenizer(), char)]  # the tokenizer has one token for it
    right, eos = functools.partial(Completion, reward=1.0, is_correct=True), tokenizer().eos_token_id
    odd = right(token_ids=(*spelled, eos))
    cut = right(token_ids=(*encode(tokenizer(), "\u4f60")[:2], eos))
    no_eos = right(token_ids=encode(tokenizer(), " y"))
    stopped = completion(" z", truncated=True)
    groups = [visit([[c, completion(" 1", 0.0)], mixed(0, 1), mixed(0, 1)]) for c in (odd, cut, no_eos, stopped)]
    status, said = build("outcome", *groups)
    assert status == 2 and "no row of --kind outcome is left of 16 completions" in said
    assert "2 rows whose response text" in said and "1 completions that do not end" in said
    assert "1 completions or guidances that the length limit stopped" in said
    assert "2 states with usable completions of one kind" in said


def test_what_a_stop_text_ended_ends_with_eos_in_its_place(build):
    """As it was graded, so that the trained model ends its response itself."""

    def sampled(text, is_correct):
        return Completion(token_ids=encode(tokenizer(), text), reward=float(is_correct), is_correct=is_correct)

    right = [sampled(" 9.\n\nQ: What is", True), sampled(" 9.\n\nQ:", True), completion(" nine")]
    s0 = [*right, sampled(" 8.END", False), sampled(" 7.\n\nQ", False), completion(" y\n\nQ:", 0.0, truncated=True)]
    groups, stop = visit([s0, mixed(0, 1), mixed(0, 1)]), ("END", "\n\nQ:")
    rows, said = build("outcome", groups, flags="--pairs_per_state 9", stop=stop)
    assert {(row["chosen"], row["rejected"]) for row in rows} == {
        (" 9.<|im_end|>", " 8.<|im_end|>"),
        (" nine<|im_end|>", " 8.<|im_end|>"),
    }
    assert "3 of the completions ended at a text of --marge.stop, and end with EOS in its place" in said
    assert "1 completions that do not end with the tokenizer's one EOS" in said  # by the length limit of the engine
    assert "1 completions or guidances that the length limit stopped" in said
    rows, _ = build("sft", groups, stop=stop, out="pairs/train.jsonl")
    assert {row["response"] for row in rows} == {f"{COT_PREFIX} 9.<|im_end|>", f"{COT_PREFIX} nine<|im_end|>"}
    status, said = build("outcome", groups)
    assert status == 2 and "4 completions that do not end with the tokenizer's one EOS" in said


@pytest.mark.parametrize(
    ("pieces", "kept"),
    [
        (["It is", " 7", ".", "\n\nQ", ":"], 3),
        (["It is", " 7.\n", "\nQ", ":"], None),  # what was graded ends within the second token
        (["It is", " 7", ".", " \n", "\nQ:"], 3),  # a blank alone
        (["It is", " 7", ".", "\n\nQuestion"], None),  # no stop text
    ],
)
def test_a_row_holds_all_that_was_graded(pieces, kept):
    sampled = Completion(token_ids=tuple(range(len(pieces))), reward=1.0, is_correct=True)
    groups = (dataclasses.replace(visit([mixed(1, 1)] * 3)[0], completions=(sampled,)),)
    (found,), changed = with_eos(groups, ("\n\nQ:",), 99, lambda ids: [pieces[i] for i in ids])
    assert found.completions[0].token_ids == (sampled.token_ids if kept is None else (*range(kept), 99))
    assert changed == (kept is not None)


def test_sft_says_how_many_states_have_no_correct_completion(build):
    status, said = build("sft", visit([mixed(0, 2), mixed(1, 0), mixed(1, 0)]))
    assert status == 2 and "1 states without a correct completion that can be a row" in said


@pytest.mark.parametrize(("eos", "counted"), [([2, 7], "2 completions that ended with another EOS, 7 '%'"), (2, None)])
def test_an_end_by_another_eos_of_the_model_is_named(build, model, eos, counted):
    """Engines stop at any EOS of the generation config; both data sets know the tokenizer's alone."""
    assert tokenizer().eos_token_id == 2 and tokenizer().decode([7]) == "%"
    GenerationConfig(eos_token_id=eos).save_pretrained(model)
    other = [Completion(token_ids=(*encode(tokenizer(), f" {i}"), 7), reward=1.0, is_correct=True) for i in range(2)]
    try:
        status, said = build("outcome", visit([[*other, completion(" 1", 0.0)], mixed(0, 1), mixed(0, 1)]))
    finally:
        (Path(model) / "generation_config.json").unlink()
    assert status == 2 and (counted or "2 completions that do not end with the tokenizer's one EOS") in said
    assert ("do not end" in said) == (counted is None)


def test_a_visit_that_stands_in_the_dumps_twice_is_one(build, tmp_path, model, capsys):
    build("marge", good_visit())
    (dump,) = tmp_path.glob("dump*")
    shutil.copy(dump / "rollout-00000001.parquet", dump / "rollout-00000002.parquet")
    command = ["--kind", "marge", "--model", model, "--out", str(tmp_path / "again.jsonl")]
    assert main([str(dump), str(dump), *command]) == 0
    said = capsys.readouterr().out
    assert len((tmp_path / "again.jsonl").read_text().splitlines()) == 2
    assert "3 visits that stand in the dumps again, as of a file that was copied or a folder given twice" in said
    assert "states with usable completions of one kind" in said and "duplicate" not in said


def test_long_pairs_and_duplicates_are_counted(build):
    rows, said = build("marge", *(visit([mixed(1, 1), mixed(1, 1), mixed(0, 3)], number=n) for n in range(2)))
    assert len(rows) == 2 and "2 exact duplicates" in said
    status, said = build("marge", good_visit(), flags="--max_len 30")
    assert status == 2 and "2 rows longer than --max_len" in said


def test_sft_rows_are_correct_whole_responses(build):
    rows, _ = build("sft", good_visit())
    assert {r["response"] for r in rows} == {f"{COT_PREFIX} {i}{RIGHT}<|im_end|>" for i in range(2)}
    assert {r["prompt"] for r in rows} == {problem().prompt}
    rows, _ = build("sft", good_visit(), flags="--from_all_states")
    assert rows[2]["response"] == f"{COT_PREFIX} 3+4=7\nStep 2: 0{RIGHT}<|im_end|>"


def test_steps_are_labelled_with_the_value_after_them(build):
    (row,), _ = build("prm", good_visit())
    assert row["prompt"] == problem().prompt + COT_PREFIX
    assert row["completions"] == [" 3+4=7\nStep 2:", " 7+1=9\nStep 3:", " 9+1=10\nThe answer is: \\boxed{10}."]
    assert row["labels"] == [1 / 3, 0.0, 0.0] and row["value"] == 0.5
    (row,), _ = build("prm", good_visit(correct=True), flags="--hard_labels")
    assert row["labels"] == [True, False, True]


def test_the_first_pit_is_the_first_step_that_nothing_saves(build):
    (row,), _ = build("self_explore", good_visit())
    assert row["prompt"].endswith("Step 2:") and row["state_index"] == 1
    assert row["chosen"] == f" 0{RIGHT}<|im_end|>" and row["rejected"].startswith(" 7+1=9\nStep 3: 9+1")
    (row,), _ = build("self_explore", visit([mixed(1, 1)] * 3))  # only the last step is left
    assert row["prompt"].endswith("Step 3:") and row["rejected"] == " 9+1=10\nThe answer is: \\boxed{10}.<|im_end|>"


def test_responses_without_a_pit_are_counted(build):
    groups = [
        good_visit(correct=True),
        visit([mixed(0, 2), mixed(1, 1), mixed(1, 1)]),
        visit([mixed(1, 1)], text=COT_PREFIX + "1"),
        good_visit(of=problem(room=len(encode(tokenizer(), GUIDANCE))), number=1),
    ]
    status, said = build("self_explore", *groups)
    assert status == 2 and "1 guidances that are correct" in said and "1 incorrect guidances without" in said
    assert "1 responses without steps" in said and "1 completions or guidances that the length limit" in said


def test_step_dpo_has_the_published_columns(build):
    steps = [completion(" 7+1=8\nStep 3: 8+1=9\nThe answer is: \\boxed{9}."), *mixed(0, 1)]
    (row,), _ = build("step_dpo", visit([mixed(1, 1), steps, mixed(0, 2)]))
    assert row == dict(
        dataset="marge", prompt=problem().prompt, initial_reason_steps=COT_PREFIX + " 3+4=7\nStep 2:",
        chosen=" 7+1=8\n", rejected=" 7+1=9\n",
        full_chosen=" 7+1=8\nStep 3: 8+1=9\nThe answer is: \\boxed{9}.",
        full_rejected=" 7+1=9\nStep 3: 9+1=10\nThe answer is: \\boxed{10}.", answer="9",
    )  # fmt: skip
    (row,), _ = build("step_dpo", visit([mixed(1, 1)] * 3))
    assert row["rejected"] == row["full_rejected"] and row["chosen"] == row["full_chosen"] == f" 0{RIGHT}"


def test_a_response_shorter_than_the_wrong_step_is_a_whole_step_without_eos(build):
    right, wrong = completion("7"), completion("0", 0.0)
    groups = visit([[right, wrong], *[[wrong, wrong]] * 4], text=COT_PREFIX + " 1234567890123456789")
    (row,), _ = build("step_dpo", groups)
    assert (row["chosen"], row["rejected"], row["full_chosen"]) == ("7", " 123", "7")


def test_without_labels_both_steps_have_as_many_tokens(build):
    groups = visit([mixed(1, 1), *[mixed(0, 1)] * 4], text=COT_PREFIX + " 123456789")
    (row,), _ = build("step_dpo", groups)
    assert (row["chosen"], row["rejected"], row["full_rejected"]) == (" 0", " 1", " 123456789")


def test_a_pair_of_twice_the_same_is_left_out(build):
    twice = [completion(" 1"), completion(" 1", 0.0)]
    status, said = build("outcome", visit([twice, mixed(0, 1), mixed(0, 1)]))
    assert status == 2 and "1 pairs whose two responses, or steps, are the same" in said
    saved = completion(" 3+4=7\nStep 2: 7+2=9")
    status, said = build("step_dpo", visit([[saved], mixed(0, 1), mixed(0, 1)]))
    assert status == 2 and "1 pairs whose two responses, or steps, are the same" in said


@pytest.mark.parametrize("kind", ["marge", "prm"])
@pytest.mark.parametrize("format", ["jsonl", "parquet"])
def test_a_folder_is_a_data_set_with_a_card(tmp_path, model, kind, format):
    dump = write_dump(tmp_path / "dump", good_visit())
    arguments = [str(dump), "--kind", kind, "--model", model, "--format", format, "--out"]
    assert main([*arguments, str(tmp_path / "data")]) == main([*arguments, str(tmp_path / "again")]) == 0
    (data,) = datasets.load_dataset(str(tmp_path / "data"), cache_dir=tmp_path / "cache").values()
    assert data["problem_id"] == [problem().id] * len(data) and len(data) == {"marge": 2, "prm": 1}[kind]
    card = (tmp_path / "data" / "README.md").read_text()
    rows = f"{len(data)} row" + "s" * (len(data) > 1)
    assert f"{rows} from 10 completions of 1 problem" in card and model in card
    for name in ("README.md", f"train.{format}"):
        assert (tmp_path / "data" / name).read_bytes() == (tmp_path / "again" / name).read_bytes()
    assert sorted(p.name for p in (tmp_path / "data").iterdir()) == ["README.md", f"train.{format}"]


@pytest.mark.parametrize("format", ["jsonl", "parquet"])
def test_every_folder_is_a_data_set_of_its_own_also_when_built_again(tmp_path, model, format):
    """``datasets`` caches by the folder's name where a card lists configs: a training would get another one's rows."""

    def rows_of(folder, *groups, of="sft"):
        dump = write_dump(tmp_path / "dump", *groups)
        out = tmp_path / folder / "pairs"
        assert main([str(dump), "--kind", of, "--model", model, "--format", format, "--out", str(out)]) == 0
        (data,) = datasets.load_dataset(str(out), cache_dir=tmp_path / "cache").values()
        return len(data)

    assert rows_of("a", visit([mixed(2, 0)] + [mixed(1, 1)] * 2)) == 2
    assert rows_of("b", visit([mixed(3, 0)] + [mixed(1, 1)] * 2)) == 3
    assert rows_of("a", visit([mixed(4, 0)] + [mixed(1, 1)] * 2)) == 4
    format = "parquet" if format == "jsonl" else "jsonl"
    assert rows_of("a", visit([mixed(5, 0)] + [mixed(1, 1)] * 2)) == 5


@pytest.mark.parametrize(("most", "rows"), [(1, 1), (3, 3), (9, 4), (0, 4)])
def test_sft_takes_so_many_responses_of_a_state(build, most, rows):
    of = [visit([mixed(4, 1)] + [mixed(1, 1)] * 2)]
    found, _ = build("sft", *of, flags=f"--responses_per_state {most}")
    everything, _ = build("sft", *of)
    assert len(found) == rows and all(row in everything for row in found)


def test_choices_do_not_depend_on_the_order_of_files(build):
    visits = [visit([mixed(4, 4)] + [mixed(1, 0)] * 2, of=problem(f"What is {n}?"), number=n) for n in range(8)]
    key = functools.partial(json.dumps, sort_keys=True)
    forth, back = build("marge", *visits)[0], build("marge", *visits[::-1])[0]
    assert forth != back and sorted(map(key, forth)) == sorted(map(key, back))
    assert sorted(map(key, build("marge", *visits, flags="--seed 1")[0])) != sorted(map(key, forth))
