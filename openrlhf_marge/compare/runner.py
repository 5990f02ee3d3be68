"""The runs of a comparison, trained and evaluated: what is done is not done again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from openrlhf_marge.compare import Finished, Plan, PlannedRun, read_run
from openrlhf_marge.compare.commands import launch_flags, run_command
from openrlhf_marge.compare.evaluations import budget_text, evaluate, mark_model, marks_of
from openrlhf_marge.data.files import write_json
from openrlhf_marge.data.redaction import redacted_words
from openrlhf_marge.loop.stages import check_same, read_stages, run_stage
from openrlhf_marge.runs.folder import flag_values
from openrlhf_marge.runs.processes import Bars, run_logged
from openrlhf_marge.runs.progress import MARK, continued


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
    flags = launch_flags(plan, run)
    summary = {
        "name": f"{run.method.name}, seed {run.seed}",
        "method": flag_values(flags).get("--experience_maker", "default"),
        "kind": run.method.kind,
        "seed": run.seed,
        "budget": budget_text(plan.budget_of(run.method)),
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
