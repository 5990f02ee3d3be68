"""The course of accuracy over responses: y = c1 + c2 ln x, level from saturation on (Fig. 6 and Table 7, App. D).

The paper fits y = c1 + c2 ln x "before performance saturation" and gives no rule for where that is. Here a run's curve
is that line up to one of its points and level from there on, all of it fitted at once by least squares: one point that
happens to be high neither ends the rise nor is the accuracy at its end. The level part is there where it fits better
than a line through all points by more than noise would (t test of the one further coefficient). The fit is there where
two intervals leave 0 out: that of the slope of the line through all points, which asks once where the best of many
ends has asked many times, and c2's own. All are at 95 %. Noise is what the points scatter by: their standard errors
are over problems, which all points of a run share. tests/test_scaling.py simulates it. x is in thousands of responses,
so c1 is the accuracy after 1,000 of them; c2 has no such unit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from openrlhf_marge.figures.plot import Point

LEAST_POINTS = 3  # before saturation; two lie on a line whatever they are
LEVEL = 0.95
UNIT = 1000  # responses


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
    """None when there are fewer than LEAST_POINTS, or when the interval of a slope contains 0: the line's, or c2's."""
    x, y = np.array([p.x for p in points]), np.array([p.y for p in points])
    if len(set(x.tolist())) < LEAST_POINTS or np.ptp(y) == 0:
        return None
    log_x, n = np.log(x / UNIT), len(points)
    saturation, (c1, c2, squares), free = None, _least_squares(log_x, y), n - 2
    if abs(c2) <= _slope_margin(log_x, squares, free):
        return None
    ends = [float(end) for end in x[LEAST_POINTS - 1 : -1]]
    if ends:
        best = {end: _least_squares(np.minimum(log_x, math.log(end / UNIT)), y) for end in ends}
        end = min(best, key=lambda end: best[end][2])
        if squares - best[end][2] > _t(n - 3) ** 2 * best[end][2] / (n - 3):
            saturation, (c1, c2, squares), free = end, best[end], n - 3
    rise = np.minimum(log_x, math.log((saturation or x[-1]) / UNIT))
    margin = _slope_margin(rise, squares, free)
    if abs(c2) <= margin:
        return None
    error = math.sqrt(squares / free / n + (float(rise[-1] - rise.mean()) * margin / _t(free)) ** 2)
    return Trend(c1, c2, margin, 1 - squares / float(((y - y.mean()) ** 2).sum()), error, saturation)


def _least_squares(x: np.ndarray, y: np.ndarray) -> tuple[float, float, float]:
    """Intercept, slope, and the sum of the squares of what is left."""
    slope, intercept = np.polyfit(x, y, 1)
    return float(intercept), float(slope), float(((y - intercept - slope * x) ** 2).sum())


def _slope_margin(x: np.ndarray, squares: float, free: int) -> float:
    """Half the interval of the slope over x, from the sum of the squares of what is left."""
    return _t(free) * math.sqrt(squares / free / float(((x - x.mean()) ** 2).sum()))


def _t(free: int) -> float:
    return float(stdtrit(free, (1 + LEVEL) / 2))
