"""The rows of the map: what every finished run showed, in a file from which tables and intervals are made again."""

from __future__ import annotations

import csv
import fcntl
import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import date
from pathlib import Path

from openrlhf_marge.compare.tuning import commit
from openrlhf_marge.data.files import write_csv

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
    tokens: int | None = None  # of all of the run, as the following
    updates: int | None = None
    optimizer_steps: int | None = None
    groups_with_signal: float | None = None  # mean over the updates
    entropy: float | None = None  # of the policy in the last update
    seconds: float | None = None
    curve: str = ""  # tokens:pass rate, a point for each update
    flags: str = ""  # the method's own
    commit: str = ""
    machine: str = ""
    day: str = ""

    @property
    def run(self) -> tuple[str, str, int]:
        return self.regime, self.method, self.seed


def read_rows(path: Path) -> list[Row]:
    """[] where there is no file yet; ValueError naming a row that is none."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return [_row(path, number, cells) for number, cells in enumerate(csv.DictReader(file), start=2)]


def add_rows(path: Path, rows: Iterable[Row]) -> None:
    """In an order that does not depend on when they came; several processes may add at once."""
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        all_rows = sorted([*read_rows(path), *rows], key=lambda row: (*row.run, row.mark))
        write_csv(path, [f.name for f in fields(Row)], [list(asdict(row).values()) for row in all_rows])
    finally:
        os.close(folder)


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


def _row(path: Path, number: int, cells: Mapping[str, str]) -> Row:
    kinds = {"seed": int, "tokens": int, "updates": int, "optimizer_steps": int}
    numbers = ("mark", "pass_1", "pass_8", "pass_64", "groups_with_signal", "entropy", "seconds")
    kinds |= dict.fromkeys(numbers, float)
    try:
        return Row(**{name: kinds.get(name, str)(text) for name, text in cells.items() if text != ""})
    except (TypeError, ValueError) as e:
        raise ValueError(f"{path}, line {number}: {e}; mend the row or take it out") from e


def by_run(rows: Sequence[Row], mark: float = 1.0) -> dict[str, dict[str, dict[int, Row]]]:
    """Regime -> method -> seed -> row."""
    found: dict[str, dict[str, dict[int, Row]]] = {}
    for row in rows:
        if row.mark == mark:
            found.setdefault(row.regime, {}).setdefault(row.method, {})[row.seed] = row
    return found
