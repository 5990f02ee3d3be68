"""A method's first update, which tells what its updates cost: tokens and completions of a problem, optimizer steps."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from openrlhf_marge.compare.commands import launch_flags
from openrlhf_marge.compare.file_parts import Method
from openrlhf_marge.compare.finished import read_run
from openrlhf_marge.compare.plan import Plan, PlannedRun
from openrlhf_marge.compare.runner import Runner, train
from openrlhf_marge.compare.sizes import RESPONSES, sizes_of
from openrlhf_marge.data.files import write_json
from openrlhf_marge.method.metrics import CANDIDATES, COMPLETIONS, PROBES, PROBLEMS
from openrlhf_marge.runs.folder import flag_values
from openrlhf_marge.runs.log import TRAIN, read_series
from openrlhf_marge.runs.progress import ProgressPoint, RunBudget


@dataclass(frozen=True, kw_only=True)
class Pilot:
    """Of the first update: ``completions`` are those of the groups, ``candidates`` what is not trained on, probes
    included; ``tokens`` are of both."""

    problems: int
    completions: int
    candidates: int
    tokens: int
    optimizer_steps: int

    @property
    def tokens_per_problem(self) -> float:
        return self.tokens / self.problems

    @property
    def completions_per_problem(self) -> float:
        return self.completions / self.problems

    @property
    def responses_per_problem(self) -> float:
        """With the candidates."""
        return (self.completions + self.candidates) / self.problems


def pilot_of(plan: Plan, method: Method, runner: Runner) -> Pilot:
    """The pilot of the method, run with the first seed unless there is one; pilot.json in its folder keeps it.

    It stays that of all seeds, as other sizes would make other runs of those that are done. ValueError when it was run
    with other flags, RuntimeError when it fails.
    """
    pilots = plan.out / method.name / "pilot"
    begun = [int(path.name.removeprefix("seed_")) for path in sorted(pilots.glob("seed_*"))]
    seed = (begun or plan.seeds)[0]
    folder = pilots / f"seed_{seed}"
    alone = replace(plan, budget=RunBudget("updates", 1), marks=())
    run = PlannedRun(method=replace(method, share=1.0), seed=seed, folder=folder)
    words = launch_flags(alone, run)
    if flag_values(words).get("--marge.dump_dir"):  # the first run's
        dump = shlex.quote(str(folder / "dump")).replace("$", "$$")
        run = replace(run, method=replace(run.method, flags=f"{method.flags} --marge.dump_dir {dump}"))
    train(alone, run, runner)
    pilot = _measured(folder, read_run(folder).points, sizes_of(words)[RESPONSES])
    write_json(folder / "pilot.json", asdict(pilot))
    return pilot


def _measured(folder: Path, points: Sequence[ProgressPoint], n: int) -> Pilot:
    """``n`` responses a problem, where the run's log does not say how many problems there were."""
    series = read_series(folder / "tensorboard")
    if f"{TRAIN}{PROBLEMS}" in series:
        problems, completions, candidates, probes = (
            round(series[TRAIN + tag][0][1]) for tag in (PROBLEMS, COMPLETIONS, CANDIDATES, PROBES)
        )
    else:
        problems, completions, candidates, probes = points[0].samples // n, points[0].samples, 0, 0
    steps = points[0].optimizer_steps
    assert steps is not None, "a run with a budget counts them"
    return Pilot(
        problems=problems, completions=completions, candidates=candidates + probes, tokens=points[0].tokens,
        optimizer_steps=steps,
    )  # fmt: skip
