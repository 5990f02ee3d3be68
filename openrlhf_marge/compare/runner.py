"""The runs of a comparison and their evaluations: what is done is not done again."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from openrlhf_marge.compare import Finished, Plan, PlannedRun, Scores, read_run
from openrlhf_marge.compare.commands import evaluate_flags, launch_flags, run_command
from openrlhf_marge.compare.evaluation_checks import flags_of_run
from openrlhf_marge.data.files import write_json
from openrlhf_marge.data.redaction import redacted_words
from openrlhf_marge.evaluation import problem_metrics
from openrlhf_marge.evaluation.flags import parse_args
from openrlhf_marge.evaluation.responses import ResponseFolder
from openrlhf_marge.evaluation.results import data_name, read_results
from openrlhf_marge.loop.iterations import check_same, read_stages, run_stage
from openrlhf_marge.runs.folder import flag_values
from openrlhf_marge.runs.marks import mark_folder, mark_name
from openrlhf_marge.runs.processes import Bars, run_logged
from openrlhf_marge.runs.progress import MARK, UNITS, continued

EVALUATION = "after.json"  # as in runs/folder.py, so that report, figures and model_card read it


@dataclass
class Runner:
    """Runs commands and shows how far they are: a line per update or stage of a loop, progress bars otherwise."""

    environment: dict[str, str]
    bars: Bars = field(default_factory=Bars)

    def __call__(self, command: Sequence[str], log: Path) -> None:
        run_logged(command, log, self.environment, self._show)
        self.bars.end()

    def _show(self, line: str) -> None:
        _, mark, text = line.rpartition(MARK)
        if mark or line.startswith("== "):
            self.bars.end()
            print(f"   {text.rstrip()}", flush=True)
        else:
            self.bars(line)


def finish(plan: Plan, run: PlannedRun, runner: Runner) -> Finished:
    """Train what is not trained and evaluate what is not evaluated, marks included.

    RuntimeError when a command fails, ValueError when the run has not kept a mark.
    """
    finished = trained(plan, run, runner)
    evaluate(plan, run, finished.model, None, runner)
    for mark in marks_of(plan, finished):
        evaluate(plan, run, mark_model(finished, mark), mark, runner)
    return finished


def evaluate(plan: Plan, run: PlannedRun, model: str, mark: float | None, runner: Runner) -> None:
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


def mark_model(finished: Finished, mark: float) -> str:
    """The model that the run kept; ValueError when it did not."""
    folder = mark_folder(Path(finished.model).parent, mark)
    if not (folder / "config.json").is_file():
        raise ValueError(
            f"{folder} has no model: the run ended before {mark_name(mark)} % of its budget, or had no such mark; "
            "raise --train.num_episodes, or leave the mark out"
        )
    return str(folder)


def there(plan: Plan, run: PlannedRun) -> Finished | None:
    """A finished run or a model that the file names; ValueError when it is not there."""
    if run.method.model:
        return Finished(plan.fill(run.method.model, run.seed), [])
    return read_run(Path(plan.fill(run.method.run, run.seed))) if run.method.run else None


def trained(plan: Plan, run: PlannedRun, runner: Runner) -> Finished:
    """The run of its folder, which is begun, gone on with or done."""
    if finished := there(plan, run):
        return finished
    train(plan, run, runner)
    finished = read_trained(run)
    if not run.method.is_looped:  # a loop writes its own
        write_summary(plan, run, finished)
    return finished


def read_trained(run: PlannedRun) -> Finished:
    """A run that is done, with what was used before it."""
    finished = read_run(run.folder)
    return replace(finished, points=continued(run.before, finished.points)) if run.start else finished


def train(plan: Plan, run: PlannedRun, runner: Runner) -> None:
    """Train it, or go on, unless that is done; ValueError when it was with other flags."""
    if not is_done(plan, run):
        run_stage(run.folder, "run", run_command(plan, run), runner)


def write_summary(plan: Plan, run: PlannedRun, finished: Finished) -> None:
    """What the run was, for report, figures and model_card."""
    flags, budget = launch_flags(plan, run), plan.budget_of(run.method)
    summary = {
        "name": f"{run.method.name}, seed {run.seed}",
        "method": flag_values(flags).get("--experience_maker", "default"),
        "kind": run.method.kind,
        "seed": run.seed,
        "budget": f"{budget.amount:,.0f} {UNITS[budget.unit]}",
        "training_flags": redacted_words(flags),
        "generated_tokens": finished.points[-1].tokens,
        **({"starts_from": run.start.name} if run.start else {}),
    }
    write_json(run.folder / "summary.json", summary)


def is_done(plan: Plan, run: PlannedRun) -> bool:
    """Whether it was trained; ValueError when that was with other flags."""
    done = read_stages(run.folder).get("run")
    if done:
        check_same(f"the run of {run.folder}", done["command"], run_command(plan, run))
    return bool(done)


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
        values = [problem_metrics(a.sampled, a.greedy, args.k) for a in answered]
        problems = tuple((a.index, a.problem) for a in answered)
        for metric in values[0]:
            scores[name, metric] = Scores(problems, np.array([of_problem[metric] for of_problem in values]))
    return scores
