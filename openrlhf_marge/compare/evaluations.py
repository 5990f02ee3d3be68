"""The evaluations of a comparison's runs, at their marks and at their ends, and the scores of every problem."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from openrlhf_marge.compare import Finished, Plan, PlannedRun, Scores
from openrlhf_marge.compare.commands import evaluate_flags
from openrlhf_marge.compare.evaluation_checks import flags_of_run
from openrlhf_marge.evaluation.flags import parse_args
from openrlhf_marge.evaluation.responses import ResponseFolder
from openrlhf_marge.evaluation.results import data_name, read_results
from openrlhf_marge.evaluation.tasks import metrics_of
from openrlhf_marge.loop.stages import RunCommand, run_stage
from openrlhf_marge.runs.marks import mark_folder, mark_name
from openrlhf_marge.runs.progress import UNITS, RunBudget
from openrlhf_marge.runs.summary import SUMMARY, RunSummary, read_summary

EVALUATION = "after.json"  # as in runs/folder.py, so that report, figures and model_card read it


def evaluate(plan: Plan, run: PlannedRun, model: str, mark: float | None, runner: RunCommand) -> None:
    """Each time, as model and data may be other ones now: cli.evaluate samples only what is new."""
    out = evaluation_file(run, mark)
    out.parent.mkdir(parents=True, exist_ok=True)
    flags = evaluate_flags(plan, run.seed, model, out, mark, run.method.evaluate)
    command = [sys.executable, "-m", "openrlhf_marge.cli.evaluate", *flags]
    run_stage(run.folder, "evaluate" if mark is None else f"evaluate_{mark_name(mark)}", command, runner)


def evaluation_file(run: PlannedRun, mark: float | None) -> Path:
    """Where the result is."""
    return (
        run.folder / EVALUATION if mark is None else mark_folder(run.folder, mark).with_name(f"{mark_name(mark)}.json")
    )


def marks_of(plan: Plan, finished: Finished) -> tuple[float, ...]:
    """None of a model as it is, which has no way to its budget."""
    return plan.marks if finished.points else ()


def budget_text(budget: RunBudget) -> str:
    """As it stands in the summary of a run."""
    return f"{budget.amount:,.0f} {UNITS[budget.unit]}"


def check_marks_budget(plan: Plan, run: PlannedRun, finished: Finished) -> None:
    """ValueError where the marks of a finished run are shares of another budget than the plan's, or an unknown one."""
    if run.method.run and marks_of(plan, finished) and plan.budget:
        folder, wanted = Path(finished.model).parent, budget_text(plan.budget_of(run.method))
        told = read_summary(folder, RunSummary).everything.get("budget") if (folder / SUMMARY).is_file() else None
        if told != wanted:
            raise ValueError(
                f"the marks of {folder} are shares of {told or 'a budget that it does not tell'}, not of {wanted}; "
                "give a run with that budget, or leave marks out"
            )


def mark_model(finished: Finished, mark: float) -> str:
    """The model that the run kept; ValueError when it did not."""
    folder = mark_folder(Path(finished.model).parent, mark)
    if not (folder / "config.json").is_file():
        raise ValueError(
            f"{folder} has no model: the run ended before {mark_name(mark)} % of its budget, or had no such mark; "
            "raise --train.num_episodes, or leave the mark out"
        )
    return str(folder)


def read_scores(plan: Plan, run: PlannedRun, mark: float | None = None) -> dict[tuple[str, str], Scores]:
    """Data (as the file names it) and metric -> the values of all problems, from the responses that were kept.

    A model as it is has its one evaluation at every mark.
    """
    mark = None if run.method.model else mark
    path = evaluation_file(run, mark)
    results = read_results(path)
    flags = flags_of_run(plan, run, path, mark)
    args, names = parse_args(flags, ""), plan.evaluate.data
    scores = {}
    for name, data in zip(names, args.data, strict=True):
        answered = list(ResponseFolder(Path(results[data_name(data)].told["responses"])).read())
        values = metrics_of(args, answered)
        problems = tuple((a.index, a.problem) for a in answered)
        for metric in values[0]:
            scores[name, metric] = Scores(problems, np.array([of_problem[metric] for of_problem in values]))
    return scores
