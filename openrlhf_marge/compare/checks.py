"""Checks everything that a compare file can get wrong before anything long starts; raises ValueError."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from openrlhf_marge.compare import Plan
from openrlhf_marge.compare.commands import evaluate_flags as flags_of_evaluation
from openrlhf_marge.compare.commands import launch_flags, loop_flags
from openrlhf_marge.compare.kinds import TRAINED
from openrlhf_marge.compare.notes import unequal
from openrlhf_marge.compare.results import Column
from openrlhf_marge.compare.runner import is_done, mark_model, marks_of, there
from openrlhf_marge.evaluation import flags as evaluate_flags
from openrlhf_marge.evaluation.problems import load_problems
from openrlhf_marge.evaluation.results import data_name
from openrlhf_marge.loop.checks import checked
from openrlhf_marge.loop.flags import make_loop
from openrlhf_marge.loop.flags import parse_args as parse_loop_args
from openrlhf_marge.models import check_model
from openrlhf_marge.runs.folder import flag_values
from openrlhf_marge.runs.processes import run_captured

CHECK = [sys.executable, "-m", "openrlhf_marge.host.launch.launch_check"]


def check(plan: Plan, *, before_pilots: bool = False) -> dict[float | None, dict[Column, str]]:
    """The columns of the table (None) and of those of the marks, each with its data as the file names it.

    Before pilots have told the sizes of its methods, runs that were done with these are not looked at.
    """
    args = {mark: check_evaluation(plan, mark) for mark in (None, *plan.marks)}
    columns = {mark: columns_of(plan, of_mark, mark) for mark, of_mark in args.items()}
    check_finished(plan, args[None].max_len)
    for run in plan.runs:
        if run.method.kind and not before_pilots:
            is_done(plan, run)
        if run.method.is_looped:
            check_loop(f"{plan.file}, [methods.{run.method.name}]", loop_flags(plan, run))
    check_dumps(plan)
    check_launches(plan)
    return columns


def check_dumps(plan: Plan) -> None:
    """ValueError when two runs would write one dump."""
    trained = [run for run in plan.runs if run.method.kind in TRAINED]
    dumps = [flag_values(launch_flags(plan, run)).get("--marge.dump_dir") for run in trained]
    for run, dump in zip(trained, dumps, strict=True):
        if dump and dumps.count(dump) > 1:
            raise ValueError(
                f"{plan.file}, [methods.{run.method.name}]: another run writes to --marge.dump_dir {dump}, too; put "
                "$seed and a name into it"
            )


def check_evaluation(plan: Plan, mark: float | None = None) -> argparse.Namespace:
    """The flags of the evaluation, its data read."""
    place = f"{plan.file}, [evaluate]"
    for seed in plan.seeds:
        flags = flags_of_evaluation(plan, seed, "x", Path("x"), mark)
        args = checked(place, lambda words: evaluate_flags.parse_args(words, ""), flags)
        for data in args.data:
            try:
                load_problems(data, args.input_key, args.label_key)
            except ValueError as e:
                raise ValueError(f"{place}: {e}") from e
    return args


def columns_of(plan: Plan, args: argparse.Namespace, mark: float | None = None) -> dict[Column, str]:
    """The metrics that the file asks for, of all data sets; ValueError for one that is not measured.

    At a mark those of them that its flags measure; ValueError when these are none.
    """
    place = f"{plan.file}, [evaluate]"
    measured = [f"{kind}@{k}" for k in args.k for kind in ("pass", "maj")[: 1 + (k > 1)]] if args.n else []
    measured += ["greedy_pass@1"] if args.greedy_runs else []
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


def check_finished(plan: Plan, max_len: int) -> None:
    """Folders of finished runs and models to evaluate, and with strict what the runs used."""
    used = []
    for run in plan.runs:
        try:
            if finished := there(plan, run):
                check_model(finished.model, max_len)
                for mark in marks_of(plan, finished):
                    mark_model(finished, mark)
                used += [(run, finished.points)] * bool(finished.points)
        except ValueError as e:
            raise ValueError(f"{plan.file}, [methods.{run.method.name}]: {e}") from e
    check_equal(plan, unequal(plan, used))


def check_equal(plan: Plan, sentences: list[str]) -> None:
    """ValueError when strict and there is one."""
    if plan.strict and sentences:
        raise ValueError(f"{plan.file}: strict = true, and {' '.join(sentences)}")


def check_loop(place: str, flags: list[str]) -> None:
    try:
        make_loop(checked("[loop]", parse_loop_args, flags))
    except ValueError as e:
        raise ValueError(f"{place}: {e}") from e


def check_launches(plan: Plan) -> None:
    """OpenRLHF's own reading of all runs, in one process."""
    launches = [
        (f"{plan.file}, [methods.{run.method.name}]", launch_flags(plan, run))
        for run in plan.runs
        if run.method.kind in TRAINED
    ]
    if launches:
        done = run_captured(CHECK, json.dumps(launches))
        if done.returncode:
            raise ValueError((done.stderr.strip().splitlines() or ["OpenRLHF's parser failed without a word"])[-1])
