"""Tries flags of several methods, as many trials for each, and names the best of each: "the baseline at its best".

    python -m openrlhf_marge.cli.tune FILE.toml --out DIR

FILE is that of cli.compare (see there) with a table more:

    [tune]
    seeds = [100, 101]                       # none of those that compare: what is chosen must not confirm itself
    metric = "pass@1"                        # its mean over data sets and seeds
    share = 0.5                              # of the budget
    [tune.methods.GRPO]                      # the names of the lists are free; every combination is a trial
    lr = ["--actor.adam.lr 1e-4", "--actor.adam.lr 3e-4"]
    n = ["--rollout.n_samples_per_prompt 8", "--rollout.n_samples_per_prompt 16 --rollout.batch_size 12"]
    [tune.methods.MARGE]
    lr = ["--actor.adam.lr 1e-4", "--actor.adam.lr 3e-4"]
    states = ["--marge.n_states 2", "--marge.n_states 4"]

Every method has the same number of trials. A finished run leaves its row in DIR/trials.csv (method, flags, seed,
score, tokens, commit), from which the same command goes on. DIR/best.toml gets the tables of the best flags, to be put
into FILE. The held-out problems are other ones than those that compare, so their names in FILE have $seed. Exit
status: 0, 1 when a run fails, 2 for bad input.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from openrlhf_marge.cli.compare import running
from openrlhf_marge.cli.exits import exit_status
from openrlhf_marge.compare import Plan, PlannedRun, read_plan
from openrlhf_marge.compare.checks import check
from openrlhf_marge.compare.commits import commit
from openrlhf_marge.compare.evaluations import read_scores
from openrlhf_marge.compare.results import Column
from openrlhf_marge.compare.runner import Runner, finish
from openrlhf_marge.compare.tuning import TrialRow, best, check_scored_alike, scored_by, tuning_plan, write_best
from openrlhf_marge.data.files import read_records, write_records


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, metavar="FILE", help="the compare file")
    parser.add_argument("--out", type=Path, required=True, help="folder to write; one that was begun goes on")
    return parser.parse_args(argv)


def row_of(plan: Plan, run: PlannedRun, columns: dict[Column, str], runner: Runner) -> TrialRow:
    """Train and evaluate a trial with a seed."""
    points = finish(plan, run, runner).points
    scores = read_scores(plan, run)
    values = [scores[data, metric].mean for (_, metric), data in columns.items()]
    return TrialRow(
        method=trial_of(run), flags=run.method.flags, seed=run.seed, score=sum(values) / len(values),
        tokens=points[-1].tokens, commit=commit(), scored_by=scored_by(plan),
    )  # fmt: skip


def trial_of(run: PlannedRun) -> str:
    """The method that the trial is one of."""
    return run.method.name.rpartition(", trial ")[0]


def tune(plan: Plan, out: Path) -> str:
    """All trials of a plan, their rows in ``out``; ValueError for bad input, RuntimeError when a run fails."""
    trials = tuning_plan(plan)
    path = out / "trials.csv"
    rows = read_records(path, TrialRow)
    check_scored_alike(path, rows, scored_by(trials))
    done = {row.run for row in rows}
    left = [run for run in trials.runs if (trial_of(run), run.method.flags, run.seed) not in done]
    columns = check(trials)[None]  # also of what has its rows: with other flags it would be another choice
    print(f"{len(left)} of {len(trials.runs)} runs are not in {path} yet", flush=True)
    if left:
        with running() as runner:
            for number, run in enumerate(left, start=1):
                print(f"== {number} of {len(left)}: {run}: {run.method.flags}", flush=True)
                rows.append(row_of(trials, run, columns, runner))
                write_records(path, TrialRow, rows)
    return f"\n{write_best(out / 'best.toml', plan, best(plan, rows))}\n{out}: trials.csv, best.toml"


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    return exit_status("tune", lambda: tune(read_plan(args.file, args.out.absolute()), args.out))


if __name__ == "__main__":
    sys.exit(main())
