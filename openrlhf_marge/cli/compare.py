"""Trains several methods with equal budgets, evaluates them alike, and writes one table in Table 1's form.

    python -m openrlhf_marge.cli.compare FILE.toml --out DIR

    seeds = [0, 1, 2]
    baseline = "GRPO"
    shared = "--actor.model_name_or_path $MODEL --data.prompt_dataset $DATA ..."    # flags of train_ppo_ray
    budget.tokens = 300_000                                    # or updates, samples, seconds
    evaluate.data = ["math500", "seed_$seed/heldout.jsonl"]    # as --data of cli.evaluate
    evaluate.flags = "--n 64 --k 1 64"
    [methods.GRPO]
    kind = "grpo"                                              # marge, vanilla, ppo, reinforce++, rloo, ...
    [methods."MARGE, 4 states"]
    kind = "marge"
    flags = "--marge.split tokens --marge.n_states 4"
    [methods.Before]
    model = "$MODEL"                                           # evaluated as it is; run = "FOLDER": a finished run

$seed, $out (DIR), $grader (the package's reward function) and the environment's variables are filled in. Loops
(marge_dpo, self_explore, dpo, sft) take explore, pairs and train, a table [loop] and a budget in tokens. A run ends
with the update that comes closest to its budget, of which share = 0.25 gives a method that part; runs that used more
or less by tolerance (0.05) are named under the table, strict = true refuses them. DIR/METHOD/seed_N/ holds a run, DIR
table.md, table.tex, results.csv, curves.csv and curves.png. The same command goes on where it was stopped. A file is
code: its flags name programs to run, and it reads the environment; run those that you trust. Exit status: 0, 1 when a
run fails, 2 for bad input.
"""

from __future__ import annotations

import argparse
import signal
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from openrlhf_marge.cli.exits import exit_status
from openrlhf_marge.compare import Plan, Results, read_plan
from openrlhf_marge.compare.checks import check, check_equal
from openrlhf_marge.compare.curves import learning_curves
from openrlhf_marge.compare.notes import notes, schedule_notes, unequal
from openrlhf_marge.compare.results import Column, difference_table, score_rows, score_table, used_table
from openrlhf_marge.compare.runner import Runner, finish, read_scores
from openrlhf_marge.compare.tables import latex, markdown
from openrlhf_marge.data.files import write_csv, writing
from openrlhf_marge.figures import save
from openrlhf_marge.host.standalone.local_ray import local_ray, needs_local_ray
from openrlhf_marge.runs.cpu import environment


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, metavar="FILE", help="the compare file")
    parser.add_argument("--out", type=Path, required=True, help="folder to write; one that was begun goes on")
    parser.add_argument("--seeds", type=int, nargs="+", help="in place of those of the file")
    return parser.parse_args(argv)


def run_all(plan: Plan, columns: dict[Column, str]) -> Results:
    """Every run, one after the other, with what it says."""
    scores: dict[str, dict[Column, dict[int, Any]]] = {m.name: {c: {} for c in columns} for m in plan.methods}
    used = []
    with local_ray() if needs_local_ray() else nullcontext(environment()) as variables:
        # So that what runs is ended, too; Ray sets a handler of its own when it starts.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
        runner = Runner(variables)
        for number, run in enumerate(plan.runs, start=1):
            print(f"== {number} of {len(plan.runs)}: {run}", flush=True)
            finished, found = finish(plan, run, runner), read_scores(plan, run)
            for (label, metric), data in columns.items():
                scores[run.method.name][label, metric][run.seed] = found[data, metric]
            if finished.points:
                used.append((run, finished.points))
    return Results(plan, scores, used)


def write_results(results: Results, out: Path) -> str:
    """All files; returns the Markdown, and what was written."""
    tables = [score_table(results), difference_table(results), used_table(results)]
    said = notes(results)
    tables = [table for table in tables if table.rows]
    text = "\n".join([*map(markdown, tables), *(f"- {sentence}" for sentence in said)]) + "\n"
    for name, content in (("table.md", text), ("table.tex", "\n".join(map(latex, tables)))):
        with writing(out / name) as file:
            file.write(content)
    write_csv(out / "results.csv", *score_rows(results))
    written = ["table.md", "table.tex", "results.csv"]
    if results.used:
        written += ["curves.csv", "curves.png"]
        curves = learning_curves(results.used)
        write_csv(out / "curves.csv", curves.table.header, curves.table.rows)
        save(curves, out / "curves.png")
    return f"\n{text}\n{out}: {', '.join(written)}"


def compare(args: argparse.Namespace) -> str:
    """The whole comparison; ValueError for bad input, RuntimeError when a run fails."""
    plan = read_plan(args.file, args.out.absolute(), args.seeds)
    columns = check(plan)
    for sentence in schedule_notes(plan):
        print(f"compare: {sentence}")
    results = run_all(plan, columns)
    check_equal(plan, unequal(plan, results.used))
    return write_results(results, args.out)


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    return exit_status("compare", lambda: compare(args))


if __name__ == "__main__":
    sys.exit(main())
