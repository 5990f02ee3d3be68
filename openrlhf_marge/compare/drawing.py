"""Learning curves of the methods, over what they used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

from openrlhf_marge.compare.progress import UNITS, Point

AXES = ("updates", "tokens", "seconds")
Curve = tuple[np.ndarray, np.ndarray]  # used, pass rate


def draw_curves(runs: Mapping[str, Sequence[Sequence[Point]]], path: Path) -> None:
    """PNG with a thin line per run and a thick one for the mean of a method's runs, where all of them have got."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5 * len(AXES), 4), dpi=120, layout="constrained")
    for axes, unit in zip(figure.subplots(1, len(AXES), sharey=True), AXES, strict=True):
        for number, (name, of_method) in enumerate(runs.items()):
            curves = [curve for points in of_method if len((curve := curve_of(points, unit))[0])]
            for used, rates in curves:
                axes.plot(used, rates, color=f"C{number}", alpha=0.3, linewidth=0.8)
            if curves:
                axes.plot(*mean_curve(curves), color=f"C{number}", label=name)
        axes.set(xlabel=UNITS[unit], ylim=(0, 1))
        axes.grid(alpha=0.3)
        axes.xaxis.get_major_locator().set_params(integer=True)
    figure.axes[0].set_ylabel("pass rate of training problems, from s_0")
    figure.axes[0].legend()
    figure.savefig(path)


def curve_of(points: Sequence[Point], unit: str) -> Curve:
    """Pass rates over what had been used when the rollout began: it is of the policy before its update."""
    found = [(getattr(before, unit), now.pass_rate) for before, now in pairwise([Point(), *points])
             if now.pass_rate is not None]  # fmt: skip
    return np.array([used for used, _ in found]), np.array([rate for _, rate in found])


def mean_curve(curves: Sequence[Curve], n_points: int = 100) -> Curve:
    """The mean of the curves, interpolated, from where the last one begins to where the first one ends."""
    begin, end = max(u[0] for u, _ in curves), min(u[-1] for u, _ in curves)
    used = np.linspace(begin, max(begin, end), n_points)
    return used, np.mean([np.interp(used, u, rates) for u, rates in curves], axis=0)
