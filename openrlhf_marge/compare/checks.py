"""Checks everything that a compare file can get wrong before anything long starts; raises ValueError."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence

from openrlhf_marge.compare import Plan
from openrlhf_marge.compare.commands import launch_flags, loop_flags
from openrlhf_marge.compare.evaluation_checks import check_evaluation, columns_of, measured_by
from openrlhf_marge.compare.evaluations import check_marks_budget, mark_model, marks_of
from openrlhf_marge.compare.kinds import TRAINED
from openrlhf_marge.compare.notes import unequal
from openrlhf_marge.compare.results import Column
from openrlhf_marge.compare.runner import there
from openrlhf_marge.compare.starts import check_start, with_stand_in
from openrlhf_marge.evaluation.checkpoints import located
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
    check_models_marks(plan, columns, measured_by(args[None]))
    check_finished(plan, args[None].max_len)
    for run in plan.runs:
        if run.method.kind and not before_pilots:
            check_start(plan, run)
        if run.method.is_looped:
            check_loop(f"{plan.file}, [methods.{run.method.name}]", loop_flags(plan, with_stand_in(plan, run)))
    check_dumps(plan)
    check_launches(plan)
    return columns


def check_models_marks(
    plan: Plan, columns: Mapping[float | None, Mapping[Column, str]], measured: Sequence[str]
) -> None:
    """ValueError where models as they are, whose evaluation at the end is that of the marks, too, lack a column."""
    models = [run.method.name for run in plan.runs if run.method.model]
    for mark in plan.marks:
        if models and (lacking := [metric for _, metric in columns[mark] if metric not in measured]):
            raise ValueError(
                f"{plan.file}, [evaluate]: flags do not measure {lacking[0]}, which mark_flags do, so {models[0]} has "
                "none; give flags the same --k, too, or name the metrics"
            )


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


def check_finished(plan: Plan, max_len: int) -> None:
    """Folders of finished runs and models to evaluate, and with strict what the runs used."""
    used = []
    for run in plan.runs:
        try:
            if finished := there(plan, run):
                check_model(located(finished.model), max_len)
                check_marks_budget(plan, run, finished)
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
        (f"{plan.file}, [methods.{run.method.name}]", launch_flags(plan, with_stand_in(plan, run)))
        for run in plan.runs
        if run.method.kind in TRAINED
    ]
    if launches:
        done = run_captured(CHECK, json.dumps(launches))
        if done.returncode:
            raise ValueError((done.stderr.strip().splitlines() or ["OpenRLHF's parser failed without a word"])[-1])
