"""cli.tune: as many trials for every method, rows to go on from, and the best flags as tables of a compare file."""

import csv
from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace

import msgspec
import numpy as np
import pytest

from openrlhf_marge.cli import tune as cli
from openrlhf_marge.compare import Finished, Scores, read_plan
from openrlhf_marge.compare.commands import launch_command
from openrlhf_marge.compare.commits import commit
from openrlhf_marge.compare.tuning import TrialRow, best, scored_by, trials, tuning_plan
from openrlhf_marge.data.files import read_records
from openrlhf_marge.runs.folder import flag_values
from openrlhf_marge.runs.progress import ProgressPoint

FILE = """
seeds = [0, 1]
baseline = "GRPO"
shared = "--reward.remote_url $grader"
budget.tokens = 1000
evaluate.data = ["heldout_$seed.jsonl"]
[methods.GRPO]
kind = "grpo"
flags = "--actor.adam.lr 1e-6"
[methods."MARGE, 4"]
kind = "marge"
[methods.Before]
model = "M"
[tune]
seeds = [100, 101]
share = 0.5
[tune.methods.GRPO]
lr = ["--actor.adam.lr 1e-4", "--actor.adam.lr 3e-4"]
n = ["--rollout.n_samples_per_prompt 4", ""]
[tune.methods."MARGE, 4"]
states = ["--marge.n_states 1", "--marge.n_states 2", "--marge.n_states 3", "--marge.n_states 4"]
"""


def plan_of(tmp_path, text=FILE, seeds=None):
    path = tmp_path / "file.toml"
    path.write_text(text)
    return read_plan(path, tmp_path / "out", seeds)


def test_trials_are_all_combinations_and_their_flags_win(tmp_path):
    plan = plan_of(tmp_path)
    assert [trial.flags for trial in trials(plan, "GRPO")] == [
        "--actor.adam.lr 1e-6 --actor.adam.lr 1e-4 --rollout.n_samples_per_prompt 4",
        "--actor.adam.lr 1e-6 --actor.adam.lr 1e-4",
        "--actor.adam.lr 1e-6 --actor.adam.lr 3e-4 --rollout.n_samples_per_prompt 4",
        "--actor.adam.lr 1e-6 --actor.adam.lr 3e-4",
    ]
    tuned = tuning_plan(plan)
    assert [str(run) for run in tuned.runs[:3]] == [
        "GRPO, trial 1, seed 100", "GRPO, trial 1, seed 101", "GRPO, trial 2, seed 100"
    ]  # fmt: skip
    assert len(tuned.runs) == 16 and tuned.evaluate.metrics == ("pass@1",)
    command = launch_command(tuned, tuned.runs[0])
    assert command[3:5] == ["--budget.tokens", "500"] and flag_values(command)["--actor.adam.lr"] == "1e-4"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            "seeds = [100, 101]",
            "seeds = [1, 101]",
            r"seed 1 is among those of \[tune\], too; compare with seeds of their",
        ),
        (', "--marge.n_states 4"]', "]", r"different numbers of trials \(GRPO 4, MARGE, 4 3\); give all the same"),
        ("tune.methods.GRPO", "tune.methods.Before", "'Before' is no method that train_ppo_ray trains; leave it out"),
        (
            ', ""]',
            ', "--rollout.n_samples_per_prompt 4"]',
            "the list n of GRPO is empty, or has an entry twice; mend it",
        ),
        ("share = 0.5", "share = 5", "share is 5; it is a share of the budget, such as 0.5"),
        (
            "share = 0.5",
            "shares = 5",
            r"\[tune\]: the key 'shares' is not known; known are seeds, methods, metric, share",
        ),
        ("seeds = [100, 101]\n", "", r"\[tune\]: add the missing key `seeds`"),
        ("heldout_$seed", "heldout", "heldout.jsonl would both choose and confirm; put \\$seed into the names"),
        ('baseline = "GRPO"', 'baseline = "GRPO"\nmatch = "updates"', "leave match, like and responses_of out"),
    ],
)
def test_a_choice_that_is_not_fair_is_refused(tmp_path, old, new, said):
    with pytest.raises(ValueError, match=said):
        tuning_plan(plan_of(tmp_path, FILE.replace(old, new, 1)))


def test_seeds_of_the_choice_do_not_compare_when_they_are_given_instead(tmp_path):
    with pytest.raises(ValueError, match="seed 101 is among those of"):
        plan_of(tmp_path, seeds=[101])
    with pytest.raises(ValueError, match=r"has no table \[tune\]; add one with seeds"):
        tuning_plan(plan_of(tmp_path, FILE.partition("[tune]")[0]))


SCORED_BY = "pass@1 of heldout_100.jsonl, , 500 tokens"


def test_what_a_trial_is_scored_by_has_the_variables_values(tmp_path, monkeypatch):
    plan = plan_of(tmp_path)
    evaluate = replace(plan.evaluate, data=("$HELD/seed_$seed.jsonl",), flags="--n 16  --max_len $LEN")
    for held, length, said in (
        ("a/easy", "64", "easy/seed_0.jsonl, --n 16 --max_len 64, 1000 tokens"),
        ("b/hard", "2048", "hard/seed_0.jsonl, --n 16 --max_len 2048, 1000 tokens"),
    ):
        monkeypatch.setenv("HELD", held)
        monkeypatch.setenv("LEN", length)
        assert scored_by(replace(plan, evaluate=evaluate)).endswith(f" of {said}")


@pytest.fixture
def tune(tmp_path, monkeypatch):
    """Runs the command without the stack: scores by flags; (more of the file) -> exit status and the runs made."""
    runs = []

    def finish(plan, run, runner):
        runs.append(str(run))
        if len(runs) == 5:
            raise RuntimeError("the machine went away")
        return Finished("model", [ProgressPoint(updates=1, tokens=500)])

    def read_scores(plan, run):
        good = "3e-4" in run.method.flags or "n_states 2" in run.method.flags
        return {
            (plan.evaluate.data[0], "pass@1"): Scores(((0, ""),), np.array([0.5 + good / 4 + (run.seed - 100) / 1e3]))
        }

    def check(plan):
        return {None: {("heldout", "pass@1"): plan.evaluate.data[0]}}

    for name, value in (("finish", finish), ("read_scores", read_scores), ("check", check)):
        monkeypatch.setattr(cli, name, value)
    monkeypatch.setattr(cli, "running", lambda: nullcontext(SimpleNamespace()))
    (tmp_path / "out").mkdir()

    def run(text=FILE):
        plan_of(tmp_path, text)
        return cli.main([str(tmp_path / "file.toml"), "--out", str(tmp_path / "out")]), runs

    return run


def test_rows_are_gone_on_from_and_the_best_is_a_table(tune, tmp_path, capsys):
    status, runs = tune()
    out = tmp_path / "out"
    assert status == 1 and len(read_records(out / "trials.csv", TrialRow)) == 4
    status, runs = tune()
    assert status == 0 and len(runs) == 1 + 16 and runs[4] == runs[5] == "GRPO, trial 3, seed 100"
    rows = list(csv.DictReader((out / "trials.csv").open()))
    assert rows[0] == {
        "method": "GRPO", "flags": trials(plan_of(tmp_path), "GRPO")[0].flags, "seed": "100", "score": "0.5",
        "tokens": "500", "commit": commit(), "scored_by": SCORED_BY,
    }  # fmt: skip
    text = (out / "best.toml").read_text()
    assert text == (
        "# Best of 4 trials of each method by pass@1, at 0.5 of the budget, over the seeds 100, 101.\n\n"
        '[methods."GRPO"]  # pass@1 0.7505\nkind = "grpo"\n'
        'flags = "--actor.adam.lr 1e-6 --actor.adam.lr 3e-4 --rollout.n_samples_per_prompt 4"\n\n'  # the first of two
        '[methods."MARGE, 4"]  # pass@1 0.7505\nkind = "marge"\nflags = "--marge.n_states 2"\n'
    )
    assert msgspec.toml.decode(text)["methods"]["MARGE, 4"] == {"kind": "marge", "flags": "--marge.n_states 2"}
    assert text in capsys.readouterr().out
    assert tune()[0] == 0 and len(runs) == 17
    assert tune(FILE.replace("share = 0.5", 'share = 0.5\nmetric = "pass@8"'))[0] == 2 and len(runs) == 17
    assert f"trials.csv has trials by {SCORED_BY}, where it is pass@8 of" in capsys.readouterr().err


def test_a_row_that_is_none_is_named(tmp_path):
    (tmp_path / "t.csv").write_text("method,flags,seed,score,tokens,commit\nGRPO,,x,0.5,1,abc\n")
    with pytest.raises(ValueError, match=r"t.csv, line 2: invalid literal for int.*; mend the row or take it out"):
        read_records(tmp_path / "t.csv", TrialRow)


def test_other_seeds_do_not_choose(tmp_path):
    plan = plan_of(tmp_path)
    rows = [
        TrialRow(method=name, flags=trial.flags, seed=seed, score=0.5 + 0.1 * (n == 1), tokens=1, commit="c")
        for name in ("GRPO", "MARGE, 4")
        for n, trial in enumerate(trials(plan, name))
        for seed in (100, 101)
    ]
    others = [replace(row, seed=7, score=1.0) for row in rows if row.score < 0.6]
    found = best(plan, [*rows, *others])
    assert {name: score for name, (_, score) in found.items()} == pytest.approx({"GRPO": 0.6, "MARGE, 4": 0.6})
