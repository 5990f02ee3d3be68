"""The first table of tables.md: every method in every regime, and where, when and with which code they ran."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import mean, stdev

from rows import Row, by_run

from openrlhf_marge.compare.tables import Cell, Table, markdown


def overview(rows: Sequence[Row]) -> str:
    """pass@1 at the end of the budget, a row per method and a column per regime; "" without rows."""
    if not rows:
        return ""
    regimes = by_run(rows)
    methods = dict.fromkeys(name for runs in regimes.values() for name in runs)
    cells = [(name, [Cell(_cell(list(runs.get(name, {}).values()))) for runs in regimes.values()]) for name in methods]
    table = Table("pass@1 at the end of the budget, % (seeds)", "Method", [("", name) for name in regimes], cells)
    return "\n".join([markdown(table), _made(rows), ""])


def _cell(runs: Sequence[Row]) -> str:
    return f"{mean_text([row.pass_1 for row in runs], 100)} ({len(runs)})" if runs else ""


def _made(rows: Sequence[Row]) -> str:
    """Days, commits and machines of the runs, in the order of the days."""
    by_day = sorted(rows, key=lambda row: row.day)
    days, commits, machines = (
        list(dict.fromkeys(value for row in by_day if (value := getattr(row, field))))
        for field in ("day", "commit", "machine")
    )
    when = " to ".join(dict.fromkeys((*days[:1], *days[-1:])))
    return f"Runs of {when}; commits {', '.join(commits)}; machines: {'; '.join(machines)}."


def mean_text(values: Sequence[float | None], scale: float, digits: int = 1) -> str:
    """Mean and standard error of the values that are known; "" where none is."""
    known = [scale * value for value in values if value is not None]
    if not known:
        return ""
    error = f" ± {stdev(known) / len(known) ** 0.5:.{digits}f}" if len(known) > 1 else ""
    return f"{mean(known):,.{digits}f}{error}"
