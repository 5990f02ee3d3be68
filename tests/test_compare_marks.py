"""What a run used on its way, the models that it keeps at marks, and their tables."""

import csv
import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from openrlhf_marge.cli.budgeted import parse_own_args
from openrlhf_marge.cli.compare import results_of
from openrlhf_marge.compare import Finished, read_plan
from openrlhf_marge.compare.checks import check_models_marks
from openrlhf_marge.compare.commands import evaluate_flags, launch_command
from openrlhf_marge.compare.curves import point_table
from openrlhf_marge.compare.evaluation_checks import columns_of
from openrlhf_marge.compare.evaluations import check_marks_budget, read_scores
from openrlhf_marge.compare.notes import mark_notes
from openrlhf_marge.compare.runner import finish
from openrlhf_marge.compare.tables import markdown
from openrlhf_marge.compare.used import used_table
from openrlhf_marge.compare.writing import write_results
from openrlhf_marge.data.files import write_json
from openrlhf_marge.evaluation import Response
from openrlhf_marge.evaluation.flags import parse_args
from openrlhf_marge.evaluation.responses import Answered, ResponseFolder
from openrlhf_marge.runs.progress import ProgressPoint, RunBudget
from openrlhf_marge.runs.progress_files import points_of, read_points, write_points

FILE = """
seeds = [0, 1]
baseline = "GRPO"
shared = "--reward.remote_url $grader"
budget.tokens = 1000
marks = [0.5, 0.25]
evaluate.data = ["heldout.jsonl"]
evaluate.flags = "--n 2 --k 2 --greedy_runs 0"
[methods.GRPO]
kind = "grpo"
[methods.MARGE]
kind = "marge"
[methods.Before]
model = "M"
"""


def plan_of(tmp_path, text=FILE):
    path = tmp_path / "file.toml"
    path.write_text(text)
    return read_plan(path, tmp_path / "out")


def points(*tokens, **more):
    return [ProgressPoint(updates=i, samples=10 * i, tokens=t, seconds=1.0 * i, pass_rate=0.5, **more)
            for i, t in enumerate(tokens, start=1)]  # fmt: skip


def test_a_progress_file_of_an_earlier_version_says_nothing_of_what_it_does_not_know(tmp_path):
    old = {"updates": 1, "samples": 8, "tokens": 20, "seconds": 1.5, "pass_rate": 0.25}
    (tmp_path / "p").write_text(json.dumps(old) + "\n")
    assert read_points(tmp_path / "p") == [ProgressPoint(**old)]
    assert read_points(tmp_path / "p")[0].optimizer_steps is None


def test_a_log_tells_steps_signal_and_entropy_where_they_were_logged():
    series = {
        "train/rollout/num_samples": [(1, 8.0), (2, 8.0)], "train/rollout/response_length_mean": [(1, 2.5), (2, 2.0)],
        "train/rollout/reward_mean": [(1, 0.25), (2, 0.5)], "train/timing/step_total": [(1, 1.5), (2, 0.5)],
    }  # fmt: skip
    assert {(p.optimizer_steps, p.groups_with_signal, p.entropy) for p in points_of(series)} == {(None, None, None)}
    stock = {
        "train/rollout/optimizer_steps": [(1, 2.0), (2, 4.0)], "train/entropy_loss": [(1, 1.25), (2, 1.0)],
        "train/rollout/samples_with_signal": [(1, 0.5), (2, 0.75)],
    }  # fmt: skip
    found = points_of(series | stock)
    assert [(p.optimizer_steps, p.groups_with_signal, p.entropy) for p in found] == [(2, 0.5, 1.25), (4, 0.75, 1.0)]
    guided = {
        "train/marge/generated_tokens": [(1, 99.0), (2, 1.0)], "train/marge/exploring_seconds": [(1, 0), (2, 0)],
        "train/timing/generation": [(1, 1.0), (2, 0.2)], "train/marge/taken_steps": [(1, 3.0), (2, 7.0)],
        "train/marge/groups_with_signal": [(1, 0.1), (2, 0.2)],
        "train/marge/groups_after_s0": [(1, 0.0), (2, 0.75)],
    }  # fmt: skip
    found = points_of(series | stock | guided)  # MARGE's own numbers are of groups, and without skipped steps
    told = [(p.optimizer_steps, p.groups_with_signal, p.groups_after_s0) for p in found]
    assert told == [(3, 0.1, 0.0), (7, 0.2, 0.75)]


def test_what_was_used_has_a_column_for_all_that_a_run_knows(tmp_path):
    grpo, marge = plan_of(tmp_path).runs[:2]
    known = points(400, 1000, optimizer_steps=2400, groups_with_signal=0.125, groups_after_s0=0.25, entropy=0.5)
    table = markdown(used_table([(grpo, known), (marge, points(400, 900))])).splitlines()
    assert table[2].split(" | ")[4:] == [
        "seconds", "tokens per update", "optimizer steps", "groups with signal", "groups after s_0",
        "entropy at the end |",
    ]  # fmt: skip
    assert table[4:] == [
        "| GRPO, seed 0 | 2 | 20 | 1,000 | 2 | 500 | 2,400 | 12.5 % | 25.0 % | 0.500 |",
        "| GRPO, seed 1 | 2 | 20 | 900 | 2 | 450 | n/a | n/a | n/a | n/a |",
    ]
    table = point_table([(grpo, known)])
    assert table.header[-5:] == (
        "optimizer_steps",
        "groups_with_signal",
        "groups_after_s0",
        "entropy",
        "tokens_of_update",
    )
    assert [row[-1] for row in table.rows] == [400, 600]


@pytest.mark.parametrize(
    ("share", "tokens", "update"),
    [(0.25, (100, 200), 2), (0.25, (170,), 1), (0.25, (100, 160), None), (0.5, (100, 460, 600), 2), (0.5, (), None),
     (0.25, (170, 171, 300), 1)],
)  # fmt: skip
def test_a_mark_is_met_by_the_update_that_comes_closest(share, tokens, update):
    assert RunBudget("tokens", 1000).at(share).met_at(points(*tokens)) == update


def test_marks_of_a_budgeted_run_are_shares(tmp_path, capsys):
    words = ["--budget.tokens", "10", "--budget.progress", str(tmp_path / "p")]
    assert parse_own_args([*words, "--x", "1"])[2:] == ([], ["--x", "1"])
    assert parse_own_args([*words, "--budget.marks", "0.25", "0.5", "--x", "1"])[2:] == ([0.25, 0.5], ["--x", "1"])
    for given, said in (
        (["1"], "--budget.marks has 1; a mark is a share of the budget between 0 and 1, such as 0.25"),
        (["0.5", "0.5"], "--budget.marks has 50 % twice; leave one out"),
    ):
        with pytest.raises(SystemExit):
            parse_own_args([*words, "--budget.marks", *given])
        assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("[0.5, 0.25]", "[25]", "file.toml: marks has 25; a mark is a share of the budget between 0 and 1"),
        ("[0.5, 0.25]", "[0.5, 0.5]", "file.toml: marks has 50 % twice; leave one out"),
        ("[0.5, 0.25]", '["half"]', r"Expected `float`, got `str` - at `\$.marks\[0\]`"),
        ("marks = [0.5, 0.25]", 'evaluate.mark_flags = ""', "mark_flags changes nothing without marks; leave it out"),
        ('kind = "grpo"', 'kind = "sft"', "marks are kept by what .*, and GRPO is a loop; leave marks out"),
        ("methods.GRPO", 'methods."marks.csv"', "has the name of a file that compare writes; rename it"),
    ],
)
def test_marks_that_cannot_be_are_refused(tmp_path, old, new, said):
    text = FILE.replace(old, new) + ("[loop]\nmodel = 'M'\nheldout = 'H'\n" if "sft" in new else "")
    with pytest.raises(ValueError, match=said):
        plan_of(tmp_path, text)


def test_the_commands_of_a_run_with_marks(tmp_path):
    plan = plan_of(tmp_path, FILE.replace("[methods.GRPO]", 'evaluate.mark_flags = "--n 4"\n[methods.GRPO]'))
    words = launch_command(plan, plan.runs[0])
    assert words[3:8] == ["--budget.tokens", "1000", "--budget.marks", "0.25", "0.5"]
    at_mark = evaluate_flags(plan, 0, "x", Path("y"), 0.25)
    assert at_mark[-2:] == ["--n", "4"] and evaluate_flags(plan, 0, "x", Path("y"))[-2:] == ["--greedy_runs", "0"]
    assert evaluate_flags(plan_of(tmp_path), 0, "x", Path("y"), 0.25) == evaluate_flags(plan, 0, "x", Path("y"))


def test_metrics_may_be_any_k_and_those_of_a_mark_are_what_its_flags_measure(tmp_path):
    metrics = 'evaluate.metrics = ["pass@1", "pass@64", "maj@8"]\n[methods.GRPO]'
    plan = plan_of(tmp_path, FILE.replace("[methods.GRPO]", metrics))
    words = ["--model", "x", "--data", "heldout.jsonl", "--out", "y", "--n"]
    full, part = (parse_args([*words, *more], "") for more in (["64", "--k", "1", "8", "64"], ["8", "--k", "8"]))
    assert [metric for _, metric in columns_of(plan, full)] == ["pass@1", "pass@64", "maj@8"]
    assert [metric for _, metric in columns_of(plan, part, 0.25)] == ["pass@1", "maj@8"]
    with pytest.raises(ValueError, match="metrics has 'pass@64'; with these flags there are pass@1, pass@8, maj@8"):
        columns_of(plan, part)
    plan = plan_of(tmp_path, FILE.replace("[methods.GRPO]", 'evaluate.metrics = ["pass@64"]\n[methods.GRPO]'))
    with pytest.raises(ValueError, match="mark_flags measures none of metrics, but pass@1, pass@8, maj@8"):
        columns_of(plan, part, 0.25)


def test_a_model_that_lacks_a_metric_of_a_mark_is_named_before_anything_starts(tmp_path):
    """Its one evaluation stands for all marks: pass@8 is in mark_flags alone."""
    plan = plan_of(tmp_path)
    columns = {None: {("heldout", "pass@1"): "heldout.jsonl"}, 0.25: {("heldout", "pass@8"): "heldout.jsonl"}}
    plan = replace(plan, marks=(0.25,))
    check_models_marks(plan, columns, ["pass@1", "pass@8"])
    with pytest.raises(ValueError, match="flags do not measure pass@8, which mark_flags do, so Before has none"):
        check_models_marks(plan, columns, ["pass@1", "pass@64"])


def test_marks_of_a_finished_run_are_of_its_own_budget(tmp_path):
    plan = plan_of(tmp_path)
    run = replace(plan.runs[0], method=replace(plan.runs[0].method, kind="", run=str(tmp_path / "old")))
    found = Finished(str(tmp_path / "old" / "model"), points(1000))
    (tmp_path / "old").mkdir()
    for told, said in (({}, "a budget that it does not tell"), ({"budget": "2,000 generated tokens"}, "2,000 gener")):
        write_json(tmp_path / "old" / "summary.json", {"method": "marge", "training_flags": [], **told})
        with pytest.raises(ValueError, match=f"are shares of {said}.*, not of 1,000 generated tokens; give a run"):
            check_marks_budget(plan, run, found)
    write_json(
        tmp_path / "old" / "summary.json",
        {"method": "marge", "training_flags": [], "budget": "1,000 generated tokens"},
    )
    check_marks_budget(plan, run, found)
    check_marks_budget(replace(plan, marks=()), run, found)


class Stack:
    """Stands for the commands: a training keeps its models, of which pass@1 is their step; RuntimeError when told."""

    def __init__(self, keeps=("marks/25", "marks/50", "model")):
        self.keeps, self.commands = keeps, []

    def __call__(self, command, log):
        self.commands.append(command[2])
        values = {flag: value for flag, value in pairwise(command) if flag.startswith("--")}
        if command[2].endswith("budgeted"):
            folder = Path(values["--ckpt.output_dir"]).parent
            for name in self.keeps:
                (folder / name).mkdir(parents=True)
                (folder / name / "config.json").write_text("{}")
            write_points(folder / "progress.jsonl", points(200, 500, 1000))
        else:
            self.evaluate(Path(values["--model"]).name, Path(values["--out"]))

    def evaluate(self, model, out):
        responses = ResponseFolder(out.with_name(f"{out.stem}-responses"))
        right = {"M": (0, 0), "25": (1, 0), "50": (1, 0), "model": (1, 1)}[model]
        answers = [Response("", None, bool(of), "correct" if of else "wrong", False) for of in right]
        if not list(responses.read()):
            # Problem 1 is missing, as one whose prompt was too long.
            responses.write([Answered(i, f"problem {i}", "", "", answers, []) for i in (0, 2)])
        out.write_text(json.dumps({"data": "heldout", "responses": str(responses.path), "pass@1": sum(right) / 2}))


@pytest.fixture
def finished(tmp_path):
    plan, stack = plan_of(tmp_path), Stack()
    used = [(run, found.points) for run in plan.runs if (found := finish(plan, run, stack)).points]
    return plan, stack, used


def test_marks_are_evaluated_after_the_end_and_not_trained_again(finished, tmp_path):
    plan, stack, _ = finished
    assert [name.rpartition(".")[2] for name in stack.commands[:4]] == ["budgeted", *["evaluate"] * 3]
    run = plan.runs[0]
    assert {"after.json", "marks", "evaluate_25.json"} & {path.name for path in run.folder.iterdir()} == {
        "after.json", "marks"
    }  # fmt: skip
    assert json.loads((run.folder / "stages.json").read_text()).keys() == {
        "run", "evaluate", "evaluate_25", "evaluate_50"
    }  # fmt: skip
    assert [read_scores(plan, run, mark)["heldout.jsonl", "pass@1"].mean for mark in (0.25, None)] == [0.5, 1]
    problems = read_scores(plan, run, None)["heldout.jsonl", "pass@1"].problems
    assert problems == ((0, "problem 0"), (2, "problem 2"))
    before = plan.runs[-1]
    assert before.method.name == "Before" and read_scores(plan, before, 0.25)["heldout.jsonl", "pass@2"].mean == 0
    finish(plan, run, stack)
    assert stack.commands.count("openrlhf_marge.cli.budgeted") == 4


def test_a_run_that_has_kept_no_mark_is_named(tmp_path):
    plan = plan_of(tmp_path)
    with pytest.raises(ValueError, match=r"marks/50 has no model: the run ended before 50 % of its budget, or had no"):
        finish(plan, plan.runs[0], Stack(keeps=("marks/25", "model")))


def test_every_mark_has_its_tables(finished, tmp_path):
    plan, _, used = finished
    columns = {("heldout", metric): "heldout.jsonl" for metric in ("pass@1", "pass@2")}
    *at_marks, results = (results_of(plan, columns, used, mark) for mark in (*plan.marks, None))
    text = write_results(results, at_marks, tmp_path)
    heads = [line for line in text.splitlines() if line.startswith("## ")]
    assert [head.partition(", ")[0] for head in heads] == [
        "## Accuracy at 25 % of the budget", "## Difference to GRPO at 25 % of the budget",
        "## Accuracy at 50 % of the budget", "## Difference to GRPO at 50 % of the budget",
        "## Accuracy", "## Difference to GRPO", "## Used",
    ]  # fmt: skip
    assert "marks.csv" in text and "\n\n- MARGE is level with GRPO; the interval [+0.0, +0.0] does not" in text
    rows = list(csv.DictReader((tmp_path / "marks.csv").open()))
    assert [(r["share"], r["method"], r["mean"]) for r in rows[:3]] == [
        ("0.25", "GRPO", "0.5"), ("0.25", "MARGE", "0.5"), ("0.25", "Before", "0")
    ]  # fmt: skip
    assert len(rows) == 12 and len(list(csv.DictReader((tmp_path / "results.csv").open()))) == 6


def test_a_model_that_was_kept_far_from_its_mark_is_named(finished):
    plan, _, used = finished
    assert mark_notes(plan, used)[:2] == [
        "At 25, 50 % of the budget the model is that of the update after which another like it would have ended "
        "farther away.",
        "GRPO, seed 0 had used 200 generated tokens at its mark of 25 %, which is 250.",
    ]
    assert len(mark_notes(plan, used)) == 5  # half is met exactly


def test_groups_whose_rewards_are_equal_have_a_deviation_of_exactly_zero():
    torch = pytest.importorskip("torch")
    for value in np.random.default_rng(0).random(200):
        for n in (2, 3, 8, 33):
            assert not torch.full((2, n), float(value)).std(-1).any()
