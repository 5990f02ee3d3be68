"""Trains several methods with equal budgets, evaluates them alike, and writes one table in Table 1's form.

    python -m openrlhf_marge.cli.compare FILE.toml --out DIR

    seeds = [0, 1, 2]
    baseline = "GRPO"
    shared = "--actor.model_name_or_path $MODEL --data.prompt_dataset $DATA ..."    # flags of train_ppo_ray
    budget.tokens = 300_000                                    # or updates, samples, seconds
    evaluate.data = ["math500", "seed_$seed/heldout.jsonl"]    # as --data of cli.evaluate
    evaluate.flags = "--n 64 --k 1 8 64"
    marks = [0.25, 0.5]                                        # shares of the budget with a table each
    [methods.GRPO]
    kind = "grpo"                                              # marge, vanilla, ppo, reinforce++, rloo, ...
    [methods."MARGE, 4 states"]
    kind = "marge"
    flags = "--marge.split tokens --marge.n_states 4"
    [methods.Before]
    model = "$MODEL"                                           # evaluated as it is; run = "FOLDER": a finished run
    [methods.StepDPO]
    model = "StepDPO-HF"                                       # a checkpoint of the paper's tables
    evaluate = "--prompt own"                                  # what of the prompt is the method's own

    [methods."REINFORCE++ on MARGE"]
    kind = "reinforce++"
    starts_from = "MARGE, 4 states"                            # from the model that this one trains, seed by seed
    share = 1.4                                                # of the budget, for both

$seed, $out (DIR), $grader (the package's reward function) and the environment's variables are filled in. Loops
(marge_dpo, self_explore, dpo, sft, mcts_dpo, mcts_step_dpo) take explore, pairs and train, a table [loop] and a budget
in tokens. A run ends with the update after which another like it would end farther from its budget, of which share =
0.25 gives a method that part; runs that used more or less by tolerance (0.05) are named under the table, strict = true
refuses them. A mark is met in the same way; its model stays in RUN/marks and is evaluated with evaluate.mark_flags, if
there are any. Used has the share of groups with signal, and the policy's entropy where --actor.entropy_coef is given
(0 only logs it).
match = "updates" also gives every method the tokens and optimizer steps per update of the baseline, like = "NAME" in a
method those of another one, responses_of = "NAME" its responses per problem: pilots of one update tell the batch sizes
(compare/README.md). cli.tune chooses flags beforehand.

DIR/METHOD/seed_N/ holds a run, DIR table.md, table.tex, results.csv, marks.csv, curves.csv and curves.png. The same
command goes on where it was stopped. A file is code: its flags name programs to run, and it reads the environment; run
those that you trust. Exit status: 0, 1 when a run fails, 2 for bad input.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import cache
from pathlib import Path

from openrlhf_marge.cli.exits import exit_status
from openrlhf_marge.compare import Plan, PlannedRun, Results, Scores, read_plan
from openrlhf_marge.compare.checks import check, check_equal
from openrlhf_marge.compare.evaluations import read_scores
from openrlhf_marge.compare.file_parts import Method
from openrlhf_marge.compare.launch_notes import launch_notes
from openrlhf_marge.compare.matching import is_matched, matched
from openrlhf_marge.compare.notes import unequal
from openrlhf_marge.compare.pilots import Pilot, pilot_of
from openrlhf_marge.compare.results import Column
from openrlhf_marge.compare.runner import Runner, finish
from openrlhf_marge.compare.starts import begun, started
from openrlhf_marge.compare.used import Points
from openrlhf_marge.compare.writing import write_results
from openrlhf_marge.host.standalone.local_ray import local_ray, needs_local_ray
from openrlhf_marge.runs.cpu import environment


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, metavar="FILE", help="the compare file")
    parser.add_argument("--out", type=Path, required=True, help="folder to write; one that was begun goes on")
    parser.add_argument("--seeds", type=int, nargs="+", help="in place of those of the file")
    return parser.parse_args(argv)


@contextmanager
def running() -> Iterator[Runner]:
    """What runs commands, with a Ray of its own where there is none."""
    with local_ray() if needs_local_ray() else nullcontext(environment()) as variables:
        # So that what runs is ended, too; Ray sets a handler of its own when it starts.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
        yield Runner(variables)


def with_pilots(plan: Plan, runner: Runner) -> tuple[Plan, list[str]]:
    """The plan whose sizes pilots tell, checked, and what is to be said of them."""

    @cache
    def pilot(method: Method) -> Pilot:
        return pilot_of(plan, method, runner)

    told, said = matched(plan, pilot)
    if said:
        check(told)
    return told, said


def run_all(plan: Plan, runner: Runner) -> list[tuple[PlannedRun, Points]]:
    """Every run, one after the other; what those that trained used."""
    used = []
    for number, run in enumerate(plan.runs, start=1):
        run = begun(started(plan, run))
        print(f"== {number} of {len(plan.runs)}: {run}{f', after {run.start.name}' if run.start else ''}", flush=True)
        if (finished := finish(plan, run, runner)).points:
            used.append((run, finished.points))
    return used


def results_of(
    plan: Plan, columns: dict[Column, str], used: list[tuple[PlannedRun, Points]], mark: float | None
) -> Results:
    """What the evaluations of all runs say, at a mark or at the end."""
    scores: dict[str, dict[Column, dict[int, Scores]]] = {m.name: {c: {} for c in columns} for m in plan.methods}
    for run in plan.runs:
        found = read_scores(plan, run, mark)
        for (label, metric), data in columns.items():
            scores[run.method.name][label, metric][run.seed] = found[data, metric]
    return Results(plan, scores, used, mark)


def compare(args: argparse.Namespace) -> str:
    """The whole comparison; ValueError for bad input, RuntimeError when a run fails."""
    plan = read_plan(args.file, args.out.absolute(), args.seeds)
    columns = check(plan, before_pilots=is_matched(plan))
    for sentence in launch_notes(plan):
        print(f"compare: {sentence}")
    with running() as runner:
        plan, said = with_pilots(plan, runner)
        used = run_all(plan, runner)
    check_equal(plan, unequal(plan, used))
    *at_marks, results = (results_of(plan, columns[mark], used, mark) for mark in (*plan.marks, None))
    return write_results(results, at_marks, args.out, said)


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    return exit_status("compare", lambda: compare(args))


if __name__ == "__main__":
    sys.exit(main())
