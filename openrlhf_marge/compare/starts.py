"""The run that a chained run starts from (``starts_from``): its model, and what it used, which counts for both."""

from __future__ import annotations

from dataclasses import asdict, replace

from openrlhf_marge.compare import Finished, Plan, PlannedRun
from openrlhf_marge.compare.commands import MODEL, launch_flags
from openrlhf_marge.compare.plan import Start
from openrlhf_marge.compare.runner import is_done, read_trained, there
from openrlhf_marge.data.files import read_object, write_json
from openrlhf_marge.loop.stages import read_stages
from openrlhf_marge.runs.folder import flag_values
from openrlhf_marge.runs.progress import UNITS, ProgressPoint

NOTE = "start.json"  # in the folder of a chained run: the run that it was begun from


def run_before(plan: Plan, run: PlannedRun) -> PlannedRun | None:
    """The run that it starts from: the one with its seed, or the one that stands for all seeds."""
    of_method = [other for other in plan.runs if other.method.name == run.method.starts_from]
    return next((other for other in of_method if other.seed == run.seed), of_method[0]) if of_method else None


def started(plan: Plan, run: PlannedRun) -> PlannedRun:
    """The run with its start. ValueError when the run before it is not done, used everything, or is another one than
    when this one was begun."""
    before = run_before(plan, run)
    if before is None:
        return run
    finished = _finished(plan, before)
    run = replace(run, start=Start(name=str(before), model=finished.model, used=finished.points[-1]))
    place, budget = f"{plan.file}, [methods.{run.method.name}]", plan.budget_of(run.method)
    if budget.used(run.before) >= budget.amount:
        raise ValueError(
            f"{place}: {before} used {budget.used(run.before):,.0f} of the {budget.amount:,.0f} {UNITS[budget.unit]} "
            "that both have, so nothing is left; raise share"
        )
    if (note := run.folder / NOTE).is_file() and read_object(note) != _note(run):
        raise ValueError(f"{run.folder} was begun from another run of {before} than is there now; move it away")
    return run


def begun(run: PlannedRun) -> PlannedRun:
    """The run, whose start is noted, so that it never goes on after another one."""
    if run.start:
        run.folder.mkdir(parents=True, exist_ok=True)
        write_json(run.folder / NOTE, _note(run))
    return run


def check_start(plan: Plan, run: PlannedRun) -> None:
    """ValueError for a run that was trained with other flags, or was begun from a run that is not there."""
    before = run_before(plan, run)
    if before is None or _is_there(plan, before):
        is_done(plan, started(plan, run))
    elif (run.folder / NOTE).is_file():
        raise ValueError(f"{run.folder} was begun from {before}, which is not there; bring it back, or move this away")


def with_stand_in(plan: Plan, run: PlannedRun) -> PlannedRun:
    """The run as it would start from the model that its chain begins with, so that its flags can be checked."""
    before = run_before(plan, run)
    if before is None:
        return run
    return replace(run, start=Start(name=str(before), model=_first_model(plan, before), used=ProgressPoint()))


def _finished(plan: Plan, run: PlannedRun) -> Finished:
    if finished := there(plan, run):
        return finished
    run = started(plan, run)
    if not is_done(plan, run):
        raise ValueError(f"{run.folder} is not trained yet; the same command trains it")
    return read_trained(run)


def _is_there(plan: Plan, run: PlannedRun) -> bool:
    before = run_before(plan, run)
    is_trained = not run.method.kind or "run" in read_stages(run.folder)
    return is_trained and (before is None or _is_there(plan, before))


def _first_model(plan: Plan, run: PlannedRun) -> str:
    if finished := there(plan, run):
        return finished.model
    if before := run_before(plan, run):
        return _first_model(plan, before)
    if run.method.is_looped:
        assert plan.loop is not None, "checked when the file was read"
        return plan.fill(plan.loop.model, run.seed)
    return flag_values(launch_flags(plan, run)).get(MODEL, "")


def _note(run: PlannedRun) -> dict[str, object]:
    assert run.start is not None
    return {"starts_from": run.start.name, "used": asdict(run.start.used)}
