"""The pure part of training data from dumps: reading, builders by name, bad input of the command."""

import dataclasses
import json
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

import openrlhf_marge.pairs
from openrlhf_marge.cli.build_pairs import main
from openrlhf_marge.data.columns import find_files
from openrlhf_marge.data.dump_reading import read_groups
from openrlhf_marge.data.parquet import check_file
from openrlhf_marge.pairs import reading
from openrlhf_marge.pairs.base import DPO, Draft, unfit_end
from openrlhf_marge.pairs.building import _digest, fitting
from openrlhf_marge.pairs.card import Summary, data_card
from openrlhf_marge.pairs.outcomes import MargePairs, all_pairs, common_length
from openrlhf_marge.pairs.registry import BUILDERS
from openrlhf_marge.pairs.settings import PairSettings
from openrlhf_marge.seeds import generator

from factories import EOS, completion, group, problem
from scripted_dumps import mixed, save_model, tokenizer, visit, write_dump

MODULES = sorted(p.stem for p in Path(openrlhf_marge.pairs.__file__).parent.glob("*.py"))


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_model(tmp_path_factory.mktemp("model"))


def good_visit(**kwargs):
    return visit([mixed(2, 2), mixed(1, 2), mixed(0, 3)], **kwargs)


def test_it_loads_nothing_heavy():
    code = (
        f"import sys; [__import__(f'openrlhf_marge.pairs.{{m}}') for m in {MODULES}]; print([m for m in "
        "('ray', 'vllm', 'deepspeed', 'openrlhf', 'torch', 'transformers') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


@pytest.mark.parametrize("batch_rows", [1, 2, 5, 4096])
def test_a_file_is_read_by_visits_whatever_the_batches(tmp_path, monkeypatch, batch_rows):
    monkeypatch.setattr(reading, "BATCH_ROWS", batch_rows)
    bare = dataclasses.replace(group(5), state=dataclasses.replace(group(5).state, guidance=None))
    (path,) = find_files([write_dump(tmp_path, [*good_visit(), *good_visit(number=1), bare])])
    read = []
    visits = list(reading.read_visits(path, read.append))
    assert [len(v) for v in visits] == [3, 3, 1]
    assert [g for v in visits for g in v] == list(read_groups(path))
    assert sum(read) == 22 and check_file(path, reading.COLUMNS) == 22


@given(st.integers(1, 6), st.integers(1, 6), st.integers())
def test_all_pairs_are_there_once_and_spread(n, m, seed):
    pairs = all_pairs([(i,) for i in range(n)], [(10 + i,) for i in range(m)], generator(seed))
    assert len(set(pairs)) == len(pairs) == n * m
    fewer = min(n, m)
    assert len({a for a, _ in pairs[:fewer]}) == len({b for _, b in pairs[:fewer]}) == fewer


def test_common_length():
    assert [common_length(*p) for p in (((), (1,)), ((1, 2), (1, 3)), ((1, 2), (1, 2, 3)))] == [0, 1, 2]


def fails(capsys, *arguments) -> str:
    """The one line that a refused command prints."""
    assert main([str(a) for a in arguments]) == 2
    (line,) = (x for x in capsys.readouterr().err.splitlines() if x.startswith("build_pairs: error: "))
    return line


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ("--kind margin", "must be one of marge, outcome, sft, prm, self_explore, step_dpo, mcts, mcts_steps,"),
        ("--kind marge --min_value 0.8", "--min_value 0.8 is above --max_value 0.7"),
        ("--kind marge --min_value nan", "--min_value is nan; it must be at least 0"),
        ("--kind marge --max_value inf", "--max_value is inf; it must be at most 1"),
        ("--kind marge --format parquet", "--format is of a folder, and --out "),
        ("--kind marge --pairs_per_state 0", "--pairs_per_state is 0; it must be at least 1"),
        ("--kind prm --closest_only", "--closest_only changes nothing with --kind prm"),
        ("--kind step_dpo --step_label [", "--step_label '[' is no regular expression"),
        ("--kind marge --model /nowhere", "--model /nowhere has no tokenizer"),
        ("--kind outcome --max_len 5", "no row of --kind outcome is left of 10 completions; left out were: 1 "),
    ],
)
def test_bad_flags_are_refused_by_name_and_leave_nothing(tmp_path, model, capsys, flags, said):
    folder = write_dump(tmp_path / "dump", good_visit())
    assert said in fails(capsys, folder, "--model", model, "--out", tmp_path / "rows.jsonl", *flags.split())
    assert [p.name for p in tmp_path.iterdir()] == ["dump"]


def test_bad_dumps_are_named(tmp_path, model, capsys):
    flags = ("--kind", "marge", "--model", model, "--out", tmp_path / "out.parquet")
    (tmp_path / "empty").mkdir()
    assert "empty holds no rollout-*.parquet file; give" in fails(capsys, tmp_path / "empty", *flags)
    folder = write_dump(tmp_path / "dump", good_visit(), good_visit(number=1))
    whole = (folder / "rollout-00000002.parquet").read_bytes()
    table = pq.read_table(folder / "rollout-00000002.parquet")
    bad = folder / "rollout-00000002.parquet"
    nan = pa.array([float("nan")] * len(table))
    place = table.schema.get_field_index("reward")
    for content, said in [
        (whole[: len(whole) // 2], "is not a whole dump file"),
        (whole[:4] + bytes(len(whole) // 2) + whole[4 + len(whole) // 2 :], "is not a whole dump file"),
        (table.drop_columns(["reward", "label"]), "lacks the columns label, reward, so it is no file"),
        (table.set_column(place, "reward", table["label"]), "the column reward is string and not double"),
        (table.set_column(place, "reward", pa.nulls(len(table), pa.float64())), "the column reward is empty in some"),
        (table.set_column(place, "reward", nan), "the column reward holds a number outside of [0, 1]"),
    ]:
        bad.write_bytes(content) if isinstance(content, bytes) else pq.write_table(content, bad)
        line = fails(capsys, folder, *flags)
        assert str(bad) in line and said in line
    assert not list(tmp_path.glob("out*"))


def test_an_empty_result_leaves_no_folder(tmp_path, model, capsys):
    folder = write_dump(tmp_path / "dump", good_visit())
    flags = ("--kind", "marge", "--model", model, "--max_len", "5", "--out", tmp_path / "new")
    assert "2 rows longer than --max_len" in fails(capsys, folder, *flags)
    assert not (tmp_path / "new").exists()


def test_out_must_fit_what_is_there(tmp_path, model, capsys):
    folder = write_dump(tmp_path / "dump", good_visit())
    (tmp_path / "a.jsonl").mkdir()
    (tmp_path / "file").touch()
    for name, said in (("a.jsonl", "is a folder already"), ("file", "is a file already")):
        assert said in fails(capsys, folder, "--kind", "marge", "--model", model, "--out", tmp_path / name)


@pytest.mark.parametrize("name", ["README.md", "train.jsonl", "train.parquet"])
def test_a_folder_with_files_of_another_origin_is_left_alone(tmp_path, model, capsys, name):
    """As that of a training set, which is called train.jsonl, too."""
    folder, own = write_dump(tmp_path / "dump", good_visit()), tmp_path / "data"
    own.mkdir()
    (own / name).write_text("mine")
    said = fails(capsys, folder, "--kind", "marge", "--model", model, "--out", own)
    assert f"{own / name} was not written by build_pairs; name another folder with --out" in said
    assert [(path.name, path.read_text()) for path in own.iterdir()] == [(name, "mine")]


OWN = """
import pyarrow as pa
from openrlhf_marge.pairs import Draft
class Firsts:
    options = frozenset()
    def schema(self, settings):
        return pa.schema([("text", pa.string())])
    def drafts(self, visit, settings, left_out):
        left_out["states after s_0"] += len(visit) - 1
        group = visit[0]
        yield Draft(group=group, state_ids=group.state.prefix_ids, responses=(group.completions[0].token_ids,))
    def row(self, draft, texts, settings):
        return {"text": texts.response(0)}
"""


def test_a_builder_of_ones_own(tmp_path, model, install, capsys):
    entries = "firsts = own_pairs:Firsts\ngone = own_pairs:Gone\nnone = json:loads\n"
    install("own_pairs", OWN, f"[openrlhf_marge.pair_builders]\n{entries}")
    folder, out = write_dump(tmp_path / "dump", good_visit()), tmp_path / "rows.jsonl"
    flags = (str(folder), "--model", model, "--out", str(out), "--kind")
    assert main([*flags, "firsts"]) == 0 and "2 states after s_0" in capsys.readouterr().out
    (row,) = map(json.loads, out.read_text().splitlines())
    assert row == {"text": tokenizer().decode(good_visit()[0].completions[0].token_ids)}
    assert "--kind gone (own_pairs:Gone) does not load: AttributeError" in fails(capsys, *flags, "gone")
    assert "--kind none (json:loads) has no 'options'" in fails(capsys, *flags, "none")
    assert "mcts_steps, firsts, gone, none, or" in fails(capsys, *flags, "what")


def test_the_card_tells_what_was_built_from_what():
    summary = Summary(completions=10)
    summary.left_out.update(too_long=2, one_outcome=3, own=1)
    summary.add({"problem_id": "a", "value": 0.5})
    card = data_card(summary, "marge", DPO, "MODEL", {"seed": 0, "max_len": 99})
    assert "configs" not in card and "- n<1K" in card and "1 row from 10 completions of 1 problem" in card
    assert "0.5 to 0.5" in card and "--data.max_len 99" in card and "- Settings: `max_len` 99, `seed` 0" in card
    assert card.index("- 3 states") < card.index("- 2 rows longer") < card.index("- 1 own")


@pytest.mark.parametrize(
    ("kinds", "command"),
    [
        (
            ("marge", "outcome", "self_explore", "mcts"),
            "python -m openrlhf.cli.train_dpo --data.dataset FOLDER --data.prompt_key prompt --data.chosen_key chosen "
            "--data.rejected_key rejected --data.max_len 9",
        ),
        (
            ("sft",),
            "python -m openrlhf.cli.train_sft --data.dataset FOLDER --data.input_key prompt --data.output_key "
            'response --data.input_template "" --data.max_len 9',
        ),
        (("prm", "step_dpo"), None),
    ],
)
def test_the_card_tells_how_to_train_on_the_rows(kinds, command):
    for kind in kinds:
        card = data_card(Summary(rows=1), kind, BUILDERS.own[kind].trainer, "MODEL", {"max_len": 9})
        assert (f"```bash\n{command}\n```" in card) if command else ("## Use" not in card)


def test_the_range_of_values_includes_its_ends():
    for rewards in ((1.0, 0.0, 0.0, 0.0), (1.0, 1.0, 1.0, 0.0)):
        ended = tuple(completion(r, ids=(5 + i, EOS)) for i, r in enumerate(rewards))
        state = replace(group(0, rewards), completions=ended)
        settings = PairSettings(eos_id=EOS, min_value=0.25, max_value=0.75)
        assert len(list(MargePairs().drafts((state,), settings, Counter()))) == 1


def test_a_prompt_that_leaves_room_for_three_tokens_is_no_row_of_two():
    """RewardDataset drops a prompt of max_len - 2 tokens and more."""
    of = replace(group(0), problem=problem(prompt_ids=tuple(range(1, 9))))
    draft = Draft(group=of, state_ids=(), responses=((5, EOS), (6, EOS)))
    left_out = Counter()
    assert list(fitting([draft], PairSettings(eos_id=EOS, max_len=10), left_out)) == [] and left_out == {"too_long": 1}
    assert list(fitting([draft], PairSettings(eos_id=EOS, max_len=11), left_out)) == [draft]


def test_an_eos_within_a_completion_makes_it_unfit():
    settings = PairSettings(eos_id=EOS)
    assert unfit_end((5, EOS), settings) is None
    assert [unfit_end(ids, settings) for ids in ((5, EOS, 6), (EOS, 5, EOS), (5,), ())] == ["no_eos"] * 4


def test_the_range_is_of_verdicts_and_not_of_rewards():
    rewards, correct = (0.6, 0.55, 0.4, 0.45), (True, True, False, False)
    state = replace(group(0), completions=tuple(completion(r, ids=(5 + i, EOS)) for i, r in enumerate(rewards)))
    assert [c.is_correct for c in state.completions] == list(correct)
    low = replace(state, completions=tuple(replace(c, reward=c.reward / 4) for c in state.completions))
    assert len(list(MargePairs().drafts((low,), PairSettings(eos_id=EOS), Counter()))) == 1


def test_a_row_of_max_len_tokens_fits():
    of = replace(group(0), problem=problem(prompt_ids=(1, 2, 3, 4)))
    draft = Draft(group=of, state_ids=(), responses=((5,) * 5 + (EOS,), (6, EOS)))
    fits = [bool(list(fitting([draft], PairSettings(eos_id=EOS, max_len=n), Counter()))) for n in (9, 10)]
    assert fits == [False, True]


def test_the_same_pair_of_another_state_is_the_same_row():
    row = dict(prompt="p", chosen="c", rejected="r", problem_id="a", state_index=0, value=0.5, label="9")
    assert (
        _digest(row)
        == _digest(row | dict(problem_id="b", state_index=2, value=0.25))
        != _digest(row | dict(label="8"))
    )
