"""Accuracy over the course of a run, against the responses that it was trained on (x of Fig. 1 and Fig. 6)."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import accumulate

import numpy as np

from openrlhf_marge.evaluation.results import Results
from openrlhf_marge.figures.plot import CsvTable, Line, Missing, Panel, Plot, Point
from openrlhf_marge.figures.runs import RunData
from openrlhf_marge.method import metrics
from openrlhf_marge.runs import log
from openrlhf_marge.runs.log import TRAIN, Series

PROBLEMS, WITHOUT_ROOM = TRAIN + metrics.PROBLEMS, TRAIN + metrics.WITHOUT_ROOM
CONSUMED, PASS_RATE, REWARD = TRAIN + log.SAMPLES, TRAIN + metrics.PASS_RATE, TRAIN + log.REWARD
HELD_OUT = re.compile(r"eval/eval_(.+)_pass1")


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Points of (responses consumed, above 0; accuracy in %; its standard error) in order of training."""

    source: str  # what is measured, for the label of the axis
    points: tuple[Point, ...]


def accuracy(run: RunData) -> Accuracy:
    """Held-out accuracy where the run has it, else what it measured in training; Missing when it has neither."""
    if run.explored:
        return _of_iterations(run)
    held_out = {match[1]: tag for tag in sorted(run.series) if (match := HELD_OUT.fullmatch(tag))}
    consumed = _consumed(run.series)
    if held_out:
        values = _mean(run.series, held_out)
        found = Accuracy(_held_out_source(held_out), _points(values, _between(values, consumed)))
    else:
        # A step's responses are sampled before it trains on them; the step before may not be among those logged.
        before = _between([step - 1 for step in consumed], consumed)
        found = _in_training(run.series, {step: before[step - 1] for step in consumed})
    if not found.points:
        raise Missing(
            f"neither iterations of a DPO loop nor two steps with {CONSUMED} and a reward in a TensorBoard log are "
            "there; train with --logger.tensorboard_dir, and with --eval.dataset for held-out accuracy"
        )
    return found


def reward_plot(series: Series, title: str) -> Plot:
    """Mean reward of the completions of every step."""
    points = [Point(*point) for point in series[REWARD]]
    panel = Panel(
        x_label="training step", y_label="mean reward of completions", lines=[Line("", points, 0)], y_range=(0, 1),
        whole_x=True,
    )  # fmt: skip
    return Plot(title=title, panels=[panel], table=CsvTable(("step", "reward"), [point[:2] for point in points]))


def _of_iterations(run: RunData) -> Accuracy:
    after = zip(accumulate(run.explored), run.evaluations[1:], strict=True)
    points = [Point(consumed, *_held_out(results)) for consumed, results in after]
    return Accuracy(_held_out_source(run.evaluations[0]), tuple(points))


def _held_out_source(data: Iterable[str]) -> str:
    return f"held-out pass@1 ({', '.join(data)})"


def _in_training(series: Series, consumed: Mapping[int, float]) -> Accuracy:
    """The pass rate of MARGE's runs, over all problems: their reward is of later states, too."""
    if PASS_RATE not in series:
        return Accuracy("mean reward in training", _points(dict(series.get(REWARD, ())), consumed))
    problems, no_room = (dict(series.get(tag, ())) for tag in (PROBLEMS, WITHOUT_ROOM))
    sampled = {step: n - no_room.get(step, 0) for step, n in problems.items()}
    # A problem's pass rate lies in [0, 1], so no variance with the same mean is larger than that of a single outcome.
    # At 0 and 1 that says nothing of the next problem.
    points = [
        Point(consumed[step], 100 * rate, 100 * math.sqrt(rate * (1 - rate) / sampled[step]) or None)
        for step, rate in series[PASS_RATE]
        if consumed.get(step) and sampled.get(step)
    ]
    return Accuracy("pass rate in training", tuple(points))


def _held_out(results: Results) -> tuple[float, float | None]:
    """Mean pass@1 over the data sets in %, and its standard error where all of theirs are known."""
    if lacking := [data for data, result in results.items() if "pass@1" not in result.estimates]:
        raise Missing(f"the evaluation on {lacking[0]} has no pass@1; evaluate again")
    found = [result.estimates["pass@1"] for result in results.values()]
    errors = [estimate.standard_error for estimate in found]
    mean = sum(estimate.mean for estimate in found) / len(found)
    known = None if None in errors else 100 * math.hypot(*errors) / len(errors)
    return 100 * mean, known


def _consumed(series: Series) -> dict[int, float]:
    """Step -> responses trained on up to its end; with --logger.logging_steps a number stands for the steps before."""
    logged = series.get(CONSUMED, [])
    steps = [0, *(step for step, _ in logged)]
    taken = [count * (step - last) for (step, count), last in zip(logged, steps, strict=False)]
    return dict(zip(steps[1:], accumulate(taken), strict=True))


def _between(steps: Iterable[int], consumed: Mapping[int, float]) -> dict[int, float]:
    """At steps that were evaluated and not logged, in proportion between those that were; None is after the last."""
    places = {0: 0.0, **consumed}
    known = [step for step in steps if step <= max(places)]
    return dict(zip(known, np.interp(known, list(places), list(places.values())).tolist(), strict=True))


def _mean(series: Series, tags: Mapping[str, str]) -> dict[int, float]:
    """Step -> mean over the data sets, at the steps at which all were evaluated."""
    curves = [dict(series[tag]) for tag in tags.values()]
    shared = set.intersection(*(set(curve) for curve in curves))
    return {step: sum(curve[step] for curve in curves) / len(curves) for step in sorted(shared)}


def _points(values: Mapping[int, float], consumed: Mapping[int, float]) -> tuple[Point, ...]:
    return tuple(Point(consumed[step], 100 * value) for step, value in values.items() if consumed.get(step))
