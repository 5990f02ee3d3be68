"""Growth of accuracy with self-generated responses: Fig. 1, Fig. 6 and Table 7 (App. D).

The paper fits y = c1 + c2 ln x "before performance saturation" and gives no rule for where that is. Here a run's curve
is that line up to one of its points and level from there on, all of it fitted at once by least squares: one point that
happens to be high neither ends the rise nor is the accuracy at its end. The level part is there where it fits better
than a line through all points by more than noise would (t test of the one further coefficient), and the fit is there
where the interval of c2 leaves 0 out, both at 95 %. Noise is what the points scatter by: their standard errors are
over problems, which all points of a run share. tests/test_scaling.py simulates it. x is in thousands of responses, so
c1 is the accuracy after 1,000 of them; c2 has no such unit.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from openrlhf_marge.figures.accuracy import Accuracy, accuracy
from openrlhf_marge.figures.plot import CsvTable, Line, Missing, Panel, Plot, Point
from openrlhf_marge.figures.runs import RunData

LEAST_POINTS = 3  # before saturation; two lie on a line whatever they are
LEVEL = 0.95
UNIT = 1000  # responses
N_DRAWN = 50  # points of a fitted curve
X_LABEL = "self-generated responses trained on"


@dataclass(frozen=True, slots=True)
class Trend:
    """y = c1 + c2 ln(x / 1000) in %, up to ``saturation`` responses where there is one, and level from there on.

    ``margin`` is half the interval of c2, ``error`` the standard error of y at the end.
    """

    c1: float
    c2: float
    margin: float
    r2: float
    error: float
    saturation: float | None

    def at(self, x: float) -> float:
        return self.c1 + self.c2 * math.log(min(x, self.saturation or x) / UNIT)

    def __str__(self) -> str:
        sign = "-" if self.c2 < 0 else "+"
        return f"y = {self.c1:.1f} {sign} {abs(self.c2):.2f} ln(x/{UNIT}), R² = {self.r2:.2f}"


def fit(points: Sequence[Point]) -> Trend | None:
    """None when there are fewer than LEAST_POINTS, or when the interval of the slope contains 0."""
    x, y = np.array([p.x for p in points]), np.array([p.y for p in points])
    if len(set(x.tolist())) < LEAST_POINTS or np.ptp(y) == 0:
        return None
    log_x, n = np.log(x / UNIT), len(points)
    saturation, (c1, c2, squares), free = None, _least_squares(log_x, y), n - 2
    ends = [float(end) for end in x[LEAST_POINTS - 1 : -1]]
    if ends:
        best = {end: _least_squares(np.minimum(log_x, math.log(end / UNIT)), y) for end in ends}
        end = min(best, key=lambda end: best[end][2])
        if squares - best[end][2] > _t(n - 3) ** 2 * best[end][2] / (n - 3):
            saturation, (c1, c2, squares), free = end, best[end], n - 3
    rise = np.minimum(log_x, math.log((saturation or x[-1]) / UNIT))
    spread, variance = float(((rise - rise.mean()) ** 2).sum()), squares / free
    margin = _t(free) * math.sqrt(variance / spread)
    if abs(c2) <= margin:
        return None
    error = math.sqrt(variance * (1 / n + float(rise[-1] - rise.mean()) ** 2 / spread))
    return Trend(c1, c2, margin, 1 - squares / float(((y - y.mean()) ** 2).sum()), error, saturation)


def _least_squares(x: np.ndarray, y: np.ndarray) -> tuple[float, float, float]:
    """Intercept, slope, and the sum of the squares of what is left."""
    slope, intercept = np.polyfit(x, y, 1)
    return float(intercept), float(slope), float(((y - intercept - slope * x) ** 2).sum())


def _t(free: int) -> float:
    return float(stdtrit(free, (1 + LEVEL) / 2))


def converged(found: Accuracy) -> Point:
    """Where the fit saturates, else the last point: the highest one is high by luck, too."""
    trend, last = fit(found.points), found.points[-1]
    return Point(trend.saturation, trend.at(last.x), trend.error) if trend and trend.saturation else last


def convergence(run: RunData) -> Accuracy:
    """As ``accuracy``; Missing when it is of one point only, which tells no course."""
    found = accuracy(run)
    if len(found.points) < 2:
        raise Missing("it has one point of accuracy after training began; train longer, or evaluate more often")
    return found


def figure_1(runs: Mapping[str, Accuracy]) -> Plot:
    """Where each run converges, or has got, and its trend up to there; the first run is the star."""
    lines, rows = [], []
    for color, (name, found) in enumerate(runs.items()):
        trend, end, shown = fit(found.points), converged(found), _label(name, runs)
        still = None
        if trend:
            still = trend.saturation is None and trend.c2 > 0
            lines.append(Line("", _curve(trend, found.points[0].x, end.x), color, "dashed"))
        shown += {None: ", no trend shown", True: ", still rising", False: ""}[still]
        lines.append(Line(shown, [end], color, "dots" if color else "star"))
        rows.append((name, found.source, *end, still))
    header = ("run", "accuracy", "responses", "accuracy_percent", "standard_error", "still_rising")
    return Plot(
        title="Accuracy at convergence", panels=[_panel(runs, lines, log_x=False)], table=CsvTable(header, rows)
    )


def figure_6(runs: Mapping[str, Accuracy]) -> Plot:
    """The points of all runs, and the fit of those that have one; Missing when none has."""
    if not any(fit(found.points) for found in runs.values()):
        raise Missing(
            f"no run has {LEAST_POINTS} points of accuracy of which the noise lets a trend be seen; train longer, or "
            "evaluate more often (--eval.steps, --iterations)"
        )
    lines, saturated, rows = [], [], []
    for color, (name, found) in enumerate(runs.items()):
        trend, shown = fit(found.points), _label(name, runs)
        before = _before_saturation(found.points, trend)
        lines.append(Line("" if trend else shown, before, color, "dots"))
        if after := found.points[len(before) :]:
            saturated.append(Line("saturated", after, color, "circles"))
        if trend:
            lines.append(Line(f"{shown}: {trend}", _curve(trend, before[0].x, found.points[-1].x), color))
        rows += [(name, found.source, *p, trend.at(p.x) if trend else None) for p in found.points]
    header = ("run", "accuracy", "responses", "accuracy_percent", "standard_error", "fitted_percent")
    panel = _panel(runs, [*lines, *saturated], log_x=True)
    return Plot(title="Accuracy against responses", panels=[panel], table=CsvTable(header, rows))


def table_7(runs: Mapping[str, Accuracy]) -> CsvTable:
    """Coefficients of every run that has a fit."""
    rows = []
    for name, found in runs.items():
        if trend := fit(found.points):
            used = len(_before_saturation(found.points, trend))
            bounds = (trend.c2 - trend.margin, trend.c2 + trend.margin)
            rows.append((name, trend.c1, trend.c2, *bounds, trend.r2, used, len(found.points) - used))
    return CsvTable(("run", "c1", "c2", "c2_low", "c2_high", "r2", "points", "points_after_saturation"), rows)


def _before_saturation(points: Sequence[Point], trend: Trend | None) -> Sequence[Point]:
    """The one at which it begins included."""
    end = trend.saturation if trend else None
    return points if end is None else [p for p in points if p.x <= end]


def _curve(trend: Trend, begin: float, end: float) -> list[Point]:
    return [Point(float(x), trend.at(x)) for x in np.geomspace(begin, end, N_DRAWN)]


def _sources(runs: Mapping[str, Accuracy]) -> list[str]:
    return list(dict.fromkeys(found.source for found in runs.values()))


def _label(name: str, runs: Mapping[str, Accuracy]) -> str:
    """In the legend: with what is measured, where that is not the same of all runs."""
    return name if len(_sources(runs)) == 1 else f"{name} ({runs[name].source})"


def _panel(runs: Mapping[str, Accuracy], lines: Sequence[Line], *, log_x: bool) -> Panel:
    sources = _sources(runs)
    y_label = f"{sources[0]}, %" if len(sources) == 1 else "accuracy (see legend), %"
    return Panel(x_label=X_LABEL, y_label=y_label, lines=lines, log_x=log_x)
