"""What the runs really used, and how they did on their way, as a table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from openrlhf_marge.compare.plan import PlannedRun
from openrlhf_marge.compare.tables import Cell, Table
from openrlhf_marge.runs.progress import UNITS, ProgressPoint

Points = Sequence[ProgressPoint]
OfRun = Callable[[PlannedRun, Points], str]


def used_table(used: Sequence[tuple[PlannedRun, Points]]) -> Table:
    """A row per run; a number that no run knows has no column."""
    found = {name: [of_run(run, points) for run, points in used] for name, of_run in COLUMNS.items()}
    shown = {name: cells for name, cells in found.items() if any(cells)}
    rows = [
        (str(run), [Cell(cells[place] or "n/a") for cells in shown.values()]) for place, (run, _) in enumerate(used)
    ]
    return Table("Used", "Run", [("", name) for name in shown], rows)


def _total(unit: str) -> OfRun:
    return lambda _, points: f"{getattr(points[-1], unit):,.0f}"


def _tokens_per_update(run: PlannedRun, points: Points) -> str:
    """Its own, without what was used before it."""
    return f"{(points[-1].tokens - run.before.tokens) / (points[-1].updates - run.before.updates):,.0f}"


def _optimizer_steps(_: PlannedRun, points: Points) -> str:
    steps = points[-1].optimizer_steps
    return "" if steps is None else f"{steps:,}"


def mean_share(points: Points, field: str) -> float | None:
    """Mean of a share over the updates; None where it is not known."""
    shares = [share for point in points if (share := getattr(point, field)) is not None]
    return sum(shares) / len(shares) if shares else None


def _share(field: str) -> OfRun:
    def of_run(_: PlannedRun, points: Points) -> str:
        share = mean_share(points, field)
        return "" if share is None else f"{100 * share:.1f} %"

    return of_run


def _entropy(_: PlannedRun, points: Points) -> str:
    """Of the last update."""
    return "" if points[-1].entropy is None else f"{points[-1].entropy:.3f}"


def _start(run: PlannedRun, _: Points) -> str:
    return run.start.name if run.start else ""


COLUMNS: Mapping[str, OfRun] = {
    **{text: _total(unit) for unit, text in UNITS.items()},
    "tokens per update": _tokens_per_update,
    "optimizer steps": _optimizer_steps,
    "groups with signal": _share("groups_with_signal"),
    "groups after s_0": _share("groups_after_s0"),
    "entropy at the end": _entropy,
    "starts from": _start,
}
