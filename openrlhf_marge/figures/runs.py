"""A run as the figures need it, read once."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from openrlhf_marge.data.dump import dump_files
from openrlhf_marge.data.files import read_object
from openrlhf_marge.data.parquet import check_file
from openrlhf_marge.evaluation.results import Results
from openrlhf_marge.figures.dump_totals import COLUMNS, DumpTotals, read_totals
from openrlhf_marge.runs.folder import find_dumps, iteration_folders, read_evaluations
from openrlhf_marge.runs.log import Series, read_series
from openrlhf_marge.runs.summary import find_summary

Progress = Callable[[int], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunData:
    """Empty where the folder has nothing of the kind."""

    name: str
    policies: Sequence[Sequence[DumpTotals]]  # the dump: policies in order of training, of each its files
    series: Series  # the TensorBoard log of train_ppo_ray
    evaluations: Sequence[Results]  # before training, and after it or after each iteration
    explored: Sequence[int]  # completions of each iteration of a DPO loop

    @property
    def files(self) -> list[DumpTotals]:
        """All files of the dump in order."""
        return [totals for of_policy in self.policies for totals in of_policy]


def find_policies(folder: Path) -> list[list[Path]]:
    """The files of the run's dump, those sampled by one policy together; ValueError naming a file that is torn.

    The folder may itself be a dump. Of train_ppo_ray every file is a rollout with a policy of its own; an exploration
    (cli/explore.py) has one policy.
    """
    is_dump = any(folder.glob("rollout-*.parquet"))
    policies = []
    for dump in [folder] if is_dump else find_dumps(folder, find_summary(folder).flags):
        files = dump_files(dump)
        policies += [files] if (dump / "settings.json").is_file() else [[path] for path in files]
    return policies


def count_completions(policies: Sequence[Sequence[Path]]) -> int:
    """Completions in all files; ValueError naming a file that is torn or no dump."""
    return sum(check_file(path, COLUMNS) for files in policies for path in files)


def read_run(name: str, folder: Path, policies: Sequence[Sequence[Path]], progress: Progress) -> RunData:
    """Everything of a run's folder; ValueError naming a file that cannot be read."""
    iterations = iteration_folders(folder)
    return RunData(
        name=name,
        policies=[[read_totals(path, progress) for path in files] for files in policies],
        series={} if iterations else _read_log(folder),
        evaluations=read_evaluations(folder),
        explored=[_explored(f / "explore" / "summary.json") for f in iterations[1:]],
    )


def _read_log(folder: Path) -> Series:
    """Without NaN and infinity, which a run that went wrong may log."""
    try:
        logged = read_series(folder)
    except FileNotFoundError:
        return {}
    finite = {tag: [(step, value) for step, value in points if math.isfinite(value)] for tag, points in logged.items()}
    return {tag: points for tag, points in finite.items() if points}


def _explored(summary: Path) -> int:
    completions = read_object(summary).get("completions")
    if not isinstance(completions, int):
        raise ValueError(f"{summary} has no count of completions; explore again with openrlhf_marge.cli.marge_dpo")
    return completions
