"""Fits of Fig. 1 and 6 by simulation: nothing rises, something rises, something saturates."""

import math

import numpy as np
import pytest

from openrlhf_marge.figures.accuracy import Accuracy
from openrlhf_marge.figures.fig1_6_scaling import converged
from openrlhf_marge.figures.plot import Point
from openrlhf_marge.figures.trend import fit

N_POINTS, NOISE, ROUNDS = 20, 2.0, 300  # points of a run; standard deviation in percent; runs
SLOPE = 4.0


def simulate(curve, n_points=N_POINTS):
    """Share of runs with a fit, mean slope of those, mean excess of the accuracy at convergence, share saturated."""
    rng = np.random.default_rng(0)
    trends, excess = [], []
    for _ in range(ROUNDS):
        points = tuple(Point(1000.0 * i, curve(i) + rng.normal(0, NOISE), NOISE) for i in range(1, n_points + 1))
        trends.append(fit(points))
        excess.append(converged(Accuracy("x", points)).y - curve(n_points))
    found = [trend for trend in trends if trend]
    saturated = sum(trend.saturation is not None for trend in found) / ROUNDS
    slope = float(np.mean([trend.c2 for trend in found])) if found else None
    return len(found) / ROUNDS, slope, float(np.mean(excess)), saturated


@pytest.mark.parametrize("n_points", [3, 8, N_POINTS, 100])
def test_where_nothing_rises_noise_gives_a_fit_in_one_of_twenty_runs_and_no_gain(n_points):
    fitted, _, excess, saturated = simulate(lambda i: 50.0, n_points)
    assert fitted <= 0.09 and saturated <= 0.05  # 0.05 but for three standard errors
    assert abs(excess) < 3 * NOISE / ROUNDS**0.5


def test_what_rises_to_the_end_is_fitted_without_bias():
    fitted, slope, excess, saturated = simulate(lambda i: 50 + SLOPE * math.log(i))
    assert fitted > 0.98 and saturated < 0.1
    assert slope == pytest.approx(SLOPE, rel=0.05)
    assert abs(excess) < 3 * NOISE / ROUNDS**0.5


def test_what_saturates_is_fitted_up_to_there_and_converges_at_its_level():
    fitted, slope, excess, saturated = simulate(lambda i: 50 + 2 * SLOPE * math.log(min(i, 7)))
    assert fitted == 1 and saturated > 0.8
    assert slope == pytest.approx(2 * SLOPE, rel=0.05)
    assert abs(excess) < 0.2 * NOISE
