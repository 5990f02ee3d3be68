"""Learning curves of the methods, over the updates, tokens and seconds that they used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from itertools import pairwise

import numpy as np

from openrlhf_marge.compare.plan import PlannedRun
from openrlhf_marge.figures import plot
from openrlhf_marge.runs.progress import UNITS, ProgressPoint

AXES = ("updates", "tokens", "seconds")
Curve = tuple[np.ndarray, np.ndarray]  # used, pass rate


def learning_curves(used: Sequence[tuple[PlannedRun, Sequence[ProgressPoint]]]) -> plot.Plot:
    """A faint line per run, and a full line for the mean of a method's runs as far as all of them have come."""
    by_method: dict[str, list[Sequence[ProgressPoint]]] = {}
    for run, points in used:
        # A chained run's curve begins where the run before it ended; that one's own curve tells its pass rates.
        before = [replace(run.before, pass_rate=None)] if run.start else []
        by_method.setdefault(run.method.name, []).append([*before, *points])
    panels = [
        plot.Panel(
            x_label=UNITS[unit], y_label="" if number else "pass rate of training problems, from s_0",
            lines=curve_lines(by_method, unit), y_range=(0, 1), whole_x=unit == "updates",
        )
        for number, unit in enumerate(AXES)
    ]  # fmt: skip
    return plot.Plot(title="Learning curves", panels=panels, table=point_table(used))


def curve_lines(by_method: Mapping[str, Sequence[Sequence[ProgressPoint]]], unit: str) -> list[plot.Line]:
    """The lines of a panel, the last one of a method with its name; a method whose runs have no pass rate has none."""
    lines = []
    for color, (name, runs) in enumerate(by_method.items()):
        curves = [curve for points in runs if len((curve := curve_of(points, unit))[0])]
        drawn: list[tuple[Curve, plot.Style]] = [(curve, "faint") for curve in curves if len(curves) > 1]
        if len((mean := mean_curve(curves))[0]):
            drawn.append((mean, "solid"))
        names = [""] * (len(drawn) - 1) + [name]
        lines += [_line(shown, curve, color, style) for shown, (curve, style) in zip(names, drawn, strict=False)]
    return lines


def curve_of(points: Sequence[ProgressPoint], unit: str) -> Curve:
    """Pass rate of each rollout over what was used before it: the policy before that update sampled the rollout."""
    found = [(getattr(before, unit), now.pass_rate) for before, now in pairwise([ProgressPoint(), *points])
             if now.pass_rate is not None]  # fmt: skip
    return np.array([used for used, _ in found]), np.array([rate for _, rate in found])


def mean_curve(curves: Sequence[Curve], n_points: int = 100) -> Curve:
    """The mean of the curves, interpolated, from where the last one begins to where the first one ends.

    Empty without curves, and where one begins after another one ended: nothing is told of a run where it was not.
    """
    if not curves or (begin := max(u[0] for u, _ in curves)) > (end := min(u[-1] for u, _ in curves)):
        return np.empty(0), np.empty(0)
    used = np.linspace(begin, end, n_points)
    return used, np.mean([np.interp(used, u, rates) for u, rates in curves], axis=0)


def point_table(used: Sequence[tuple[PlannedRun, Sequence[ProgressPoint]]]) -> plot.CsvTable:
    """A row per run and update: what was used up to it, also before the run, and the tokens of the update itself."""
    names = [f.name for f in fields(ProgressPoint)]
    rows = [
        (run.method.name, run.seed, *(getattr(now, name) for name in names), now.tokens - before.tokens)
        for run, points in used
        for before, now in pairwise([run.before, *points])
    ]
    return plot.CsvTable(("method", "seed", *names, "tokens_of_update"), rows)


def _line(name: str, curve: Curve, color: int, style: plot.Style) -> plot.Line:
    return plot.Line(name, [plot.Point(float(x), float(y)) for x, y in zip(*curve, strict=True)], color, style)
