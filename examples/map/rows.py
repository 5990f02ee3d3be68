"""The rows of the map: what every finished run showed, in a file from which tables and intervals are made again."""

from __future__ import annotations

import fcntl
import os
import platform
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path

from openrlhf_marge.compare.commits import commit
from openrlhf_marge.compare.tuning import TrialRow, mean_scores
from openrlhf_marge.data.files import read_records, write_records

BASELINE = "GRPO"
LEAST_USED = 0.9  # of the budget
MARKS = (0.25, 0.5, 1.0)  # shares of the budget at which a run is evaluated


@dataclass(frozen=True, kw_only=True)
class Row:
    """A run at a mark; scores are shares of 1, each over the held-out problems of its seed."""

    regime: str
    method: str
    seed: int  # of the base model and its data, too
    mark: float
    pass_1: float
    pass_8: float
    pass_64: float | None = None  # at the end alone
    used: float | None = None  # share of the budget of which the model of the mark is
    tokens: int | None = None  # of all of the run, as the following
    updates: int | None = None
    optimizer_steps: int | None = None
    groups_with_signal: float | None = None  # mean over the updates
    groups_after_s0: float | None = None  # the same, so how much was guided
    entropy: float | None = None  # of the policy in the last update
    seconds: float | None = None
    curve: str = ""  # tokens after an update:pass rate of its rollout, so of the policy before it
    flags: str = ""  # the method's own
    commit: str = ""
    machine: str = ""
    day: str = ""

    @property
    def run(self) -> tuple[str, str, int]:
        return self.regime, self.method, self.seed


@dataclass(frozen=True, kw_only=True)
class MapTrial(TrialRow):
    """A trial of a regime."""

    regime: str


def chosen(trials: Iterable[MapTrial], regime: str) -> dict[str, str]:
    """Method -> the flags of its best trial in the regime, of equal ones the first."""
    means = mean_scores(trial for trial in trials if trial.regime == regime)
    return {method: max(of_flags, key=lambda flags: of_flags[flags]) for method, of_flags in means.items()}


def add_trials(path: Path, regime: str, rows: Iterable[TrialRow]) -> None:
    """In the order they were tried; a trial that is there already keeps its place and gets its new score."""
    with _alone_in(path.parent):
        found = {(trial.regime, trial.run): trial for trial in read_records(path, MapTrial)}
        found |= {(regime, row.run): MapTrial(regime=regime, **asdict(row)) for row in rows}
        write_records(path, MapTrial, sorted(found.values(), key=lambda trial: trial.regime))


def add_rows(path: Path, rows: Iterable[Row]) -> None:
    """In an order that does not depend on when they came; several processes may add at once."""
    with _alone_in(path.parent):
        all_rows = [*read_records(path, Row), *rows]
        write_records(path, Row, sorted(all_rows, key=lambda row: (*row.run, row.mark)))


@contextmanager
def _alone_in(path: Path) -> Iterator[None]:
    """No other process of the map writes into the folder meanwhile."""
    folder = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def check_used(run: str, tokens: int, budget: int) -> None:
    """ValueError for a run that is not to be compared at equal tokens."""
    if tokens < LEAST_USED * budget:
        raise ValueError(
            f"{run} generated {tokens:,} of {budget:,} tokens, as a loop does whose problems end before its budget; "
            "give it more --rollout.n_samples_per_prompt, or more iterations"
        )


def here() -> Mapping[str, str]:
    """Commit, machine and day of what runs now."""
    return {
        "commit": commit(), "machine": f"{os.cpu_count()} CPUs, {platform.machine()}, {_cpu()}",
        "day": date.today().isoformat(),
    }  # fmt: skip


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


def by_run(rows: Sequence[Row], mark: float = 1.0) -> dict[str, dict[str, dict[int, Row]]]:
    """Regime -> method -> seed -> row."""
    found: dict[str, dict[str, dict[int, Row]]] = {}
    for row in rows:
        if row.mark == mark:
            found.setdefault(row.regime, {}).setdefault(row.method, {})[row.seed] = row
    return found
