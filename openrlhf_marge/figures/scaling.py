"""How accuracy grows with self-generated responses: Fig. 1, Fig. 6 and Table 7 (App. D).

The paper fits y = c1 + c2 ln x "before performance saturation" and gives no rule for where that is. Here saturation
begins after the first point that no later point exceeds by more than its standard error (0 where none is known); what
follows is left out. x is in thousands of responses, so c1 is the accuracy after 1,000 of them; c2 has no such unit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from openrlhf_marge.figures.accuracy import Accuracy, accuracy
from openrlhf_marge.figures.plot import Line, Missing, Panel, Plot, Point, Table
from openrlhf_marge.figures.runs import Run

LEAST_POINTS = 3  # two lie on a line whatever they are
UNIT = 1000  # responses
N_DRAWN = 50  # points of a fitted curve
X_LABEL = "self-generated responses trained on"


@dataclass(frozen=True, slots=True)
class Trend:
    """y = c1 + c2 ln(x / 1000) in %; ``r2`` is None where all y are equal."""

    c1: float
    c2: float
    r2: float | None

    def at(self, x: float) -> float:
        return self.c1 + self.c2 * float(np.log(x / UNIT))

    def __str__(self) -> str:
        r2 = "" if self.r2 is None else f", R² = {self.r2:.2f}"
        return f"y = {self.c1:.1f} {'-' if self.c2 < 0 else '+'} {abs(self.c2):.2f} ln(x/{UNIT}){r2}"


def rising(points: Sequence[Point]) -> Sequence[Point]:
    """The points before saturation, the one at which it begins included; empty without points."""
    for i, point in enumerate(points, start=1):
        if all(later.y <= point.y + (point.error or 0) for later in points[i:]):
            return points[:i]
    return points


def fit(points: Sequence[Point]) -> Trend | None:
    """Least squares on the points before saturation; None when these are fewer than LEAST_POINTS."""
    used = rising(points)
    if len(used) < LEAST_POINTS:
        return None
    x, y = np.log([p.x / UNIT for p in used]), np.array([p.y for p in used])
    c2, c1 = (float(c) for c in np.polyfit(x, y, 1))
    spread = float(((y - y.mean()) ** 2).sum())
    return Trend(c1, c2, 1 - float(((y - c1 - c2 * x) ** 2).sum()) / spread if spread else None)


def convergence(run: Run) -> Accuracy:
    """As ``accuracy``; Missing when it is of one point only, which tells no course."""
    found = accuracy(run)
    if len(found.points) < 2:
        raise Missing("it has one point of accuracy after training began; train longer, or evaluate more often")
    return found


def figure_1(runs: Mapping[str, Accuracy]) -> Plot:
    """Where each run converges, and its trend up to there; the first run is the star."""
    lines, rows = [], []
    for color, (name, found) in enumerate(runs.items()):
        used, trend, shown = rising(found.points), fit(found.points), _label(name, runs)
        if trend:
            lines.append(Line("", _curve(trend, used), color, "dashed"))
        if still := len(used) == len(found.points):
            shown += ", still rising"
        lines.append(Line(shown, [used[-1]], color, "dots" if color else "star"))
        rows.append((name, found.source, *used[-1], still))
    header = ("run", "accuracy", "responses", "accuracy_percent", "standard_error", "still_rising")
    return Plot(title="Accuracy at convergence", panels=[_panel(runs, lines, log_x=False)], table=Table(header, rows))


def figure_6(runs: Mapping[str, Accuracy]) -> Plot:
    """The points of all runs, and the fit of those that have one; Missing when none has."""
    if not any(fit(found.points) for found in runs.values()):
        raise Missing(
            f"no run has {LEAST_POINTS} points of accuracy before saturation; train longer, or evaluate more often "
            "(--eval.steps, --iterations)"
        )
    lines, saturated, rows = [], [], []
    for color, (name, found) in enumerate(runs.items()):
        used, trend, shown = rising(found.points), fit(found.points), _label(name, runs)
        lines.append(Line("" if trend else shown, used, color, "dots"))
        if after := found.points[len(used) :]:
            saturated.append(Line("saturated, not fitted", after, color, "circles"))
        if trend:
            lines.append(Line(f"{shown}: {trend}", _curve(trend, used), color))
        fitted = [trend.at(p.x) if trend and i < len(used) else None for i, p in enumerate(found.points)]
        rows += [(name, found.source, *p, y) for p, y in zip(found.points, fitted, strict=True)]
    header = ("run", "accuracy", "responses", "accuracy_percent", "standard_error", "fitted_percent")
    panel = _panel(runs, [*lines, *saturated], log_x=True)
    return Plot(title="Accuracy against responses", panels=[panel], table=Table(header, rows))


def table_7(runs: Mapping[str, Accuracy]) -> Table:
    """Coefficients of every run that has a fit."""
    rows = []
    for name, found in runs.items():
        if trend := fit(found.points):
            used = len(rising(found.points))
            rows.append((name, trend.c1, trend.c2, trend.r2, used, len(found.points) - used))
    return Table(("run", "c1", "c2", "r2", "points", "points_after_saturation"), rows)


def _curve(trend: Trend, used: Sequence[Point]) -> list[Point]:
    return [Point(float(x), trend.at(x)) for x in np.geomspace(used[0].x, used[-1].x, N_DRAWN)]


def _sources(runs: Mapping[str, Accuracy]) -> list[str]:
    return list(dict.fromkeys(found.source for found in runs.values()))


def _label(name: str, runs: Mapping[str, Accuracy]) -> str:
    """In the legend: with what is measured, where that is not the same of all runs."""
    return name if len(_sources(runs)) == 1 else f"{name} ({runs[name].source})"


def _panel(runs: Mapping[str, Accuracy], lines: Sequence[Line], *, log_x: bool) -> Panel:
    sources = _sources(runs)
    y_label = f"{sources[0]}, %" if len(sources) == 1 else "accuracy (see legend), %"
    return Panel(x_label=X_LABEL, y_label=y_label, lines=lines, log_x=log_x)
