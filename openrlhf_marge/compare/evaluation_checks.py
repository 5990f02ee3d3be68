"""Checks how the runs of a comparison will be evaluated, and what the columns of its tables are; raises ValueError."""

from __future__ import annotations

import argparse
from pathlib import Path

from openrlhf_marge.compare import Plan, PlannedRun
from openrlhf_marge.compare.commands import evaluate_flags, words_of
from openrlhf_marge.compare.results import Column
from openrlhf_marge.evaluation.flags import parse_args
from openrlhf_marge.evaluation.problems import load_problems
from openrlhf_marge.evaluation.results import data_name
from openrlhf_marge.loop.checks import checked

# Flags of cli.evaluate that a method may have of its own: what decides the numbers beside them is alike for all.
OF_A_PROMPT = ("--prompt", "--system_prompt", "--input_template", "--response_prefix", "--stop")


def check_evaluation(plan: Plan, mark: float | None = None) -> argparse.Namespace:
    """The flags of the evaluation, as all methods have them; its data is read."""
    place, read = f"{plan.file}, [evaluate]", set()
    for run in plan.runs:
        check_own(plan, run)
        flags = flags_of_run(plan, run, Path("x"), mark)
        own = f"{plan.file}, [methods.{run.method.name}]: evaluate"
        args = checked(own if run.method.evaluate else place, lambda words: parse_args(words, ""), flags)
        for data in set(args.data) - read:
            try:
                load_problems(data, args.input_key, args.label_key)
            except ValueError as e:
                raise ValueError(f"{place}: {e}") from e
        read.update(args.data)
    return args


def flags_of_run(plan: Plan, run: PlannedRun, out: Path, mark: float | None = None) -> list[str]:
    """Flags of cli.evaluate for a run whose model may not be there yet."""
    model = plan.fill(run.method.model, run.seed) or str(run.folder / "model")
    return evaluate_flags(plan, run.seed, model, out, mark, run.method.evaluate)


def check_own(plan: Plan, run: PlannedRun) -> None:
    """ValueError when a method's own flags of the evaluation are of more than its prompt."""
    for word in words_of(plan, "evaluate", run.method.evaluate, run.seed):
        if word.startswith("--") and (flag := word.partition("=")[0]) not in OF_A_PROMPT:
            raise ValueError(
                f"{plan.file}, [methods.{run.method.name}]: evaluate holds {flag}, which is to be alike for all "
                f"methods; one may have {', '.join(OF_A_PROMPT)} of its own"
            )


def measured_by(args: argparse.Namespace) -> list[str]:
    """The metrics of an evaluation with these flags."""
    sampled = [f"{kind}@{k}" for k in args.k for kind in ("pass", "maj")[: 1 + (k > 1)]] if args.n else []
    return sampled + ["greedy_pass@1"] * bool(args.greedy_runs)


def columns_of(plan: Plan, args: argparse.Namespace, mark: float | None = None) -> dict[Column, str]:
    """The metrics that the file asks for, of all data sets; ValueError for one that is not measured.

    At a mark those of them that its flags measure; ValueError when these are none.
    """
    place = f"{plan.file}, [evaluate]"
    measured = measured_by(args)
    ends = dict.fromkeys([measured[0], f"pass@{args.k[-1]}"] if args.n else measured)
    metrics = plan.evaluate.metrics or tuple(ends)
    if mark is not None:
        metrics = tuple(name for name in metrics if name in measured)
        if not metrics:
            raise ValueError(
                f"{place}: mark_flags measures none of metrics, but {', '.join(measured)}; add one of them"
            )
    if unknown := [name for name in metrics if name not in measured]:
        raise ValueError(f"{place}: metrics has {unknown[0]!r}; with these flags there are {', '.join(measured)}")
    labels = {data: data_name(data) for data in plan.evaluate.data}
    if len(set(labels.values())) < len(labels):
        raise ValueError(f"{place}: data has two files of the same name, which would be one column; rename one")
    return {(label, metric): data for data, label in labels.items() for metric in metrics}
