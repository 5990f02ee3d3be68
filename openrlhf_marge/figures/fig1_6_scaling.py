"""Growth of accuracy with self-generated responses: Fig. 1, Fig. 6 and Table 7 (App. D)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from openrlhf_marge.figures.accuracy import Accuracy, accuracy
from openrlhf_marge.figures.plot import CsvTable, Line, Missing, Panel, Plot, Point
from openrlhf_marge.figures.runs import RunData
from openrlhf_marge.figures.trend import LEAST_POINTS, Trend, fit

N_DRAWN = 50  # points of a fitted curve
X_LABEL = "self-generated responses trained on"


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
