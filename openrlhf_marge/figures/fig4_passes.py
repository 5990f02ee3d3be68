"""pass@1 and pass@k before and after training: Fig. 4."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from openrlhf_marge.evaluation.estimates import Estimate
from openrlhf_marge.evaluation.results import EvaluationResult, Results
from openrlhf_marge.figures.plot import Bar, CsvTable, Missing, Panel, Plot, Point
from openrlhf_marge.figures.runs import RunData

BEFORE = -1  # color, the last one


class Evaluations(NamedTuple):
    """By data sets."""

    before: Results
    after: Results


def evaluations(run: RunData) -> Evaluations:
    """The first and the last of a run; Missing when there are not two, or not sampled."""
    if len(run.evaluations) < 2:
        raise Missing(
            "it has no before.json and after.json; write them with python -m openrlhf_marge.cli.evaluate --out"
        )
    found = Evaluations(run.evaluations[0], run.evaluations[-1])
    if not all(_ks(result) for results in found for result in results.values()):
        raise Missing("its evaluations have no pass@k with k above 1; evaluate with --n 64 --k 64")
    if not all("pass@1" in result.estimates for results in found for result in results.values()):
        raise Missing("one of its evaluations has no pass@1; evaluate again")
    return found


def figure_4(runs: Mapping[str, Evaluations]) -> Plot:
    """A panel for each data set, with the largest k that all its evaluations have; bars are percent."""
    bars = _bars(runs)
    panels, rows = [], []
    for data in dict.fromkeys(data for _, results, _ in bars for data in results):
        of_data = [(name, results[data], color) for name, results, color in bars if data in results]
        common = set.intersection(*(_ks(result) for _, result, _ in of_data))
        if not common:
            raise Missing(f"the evaluations on {data} share no k above 1; evaluate all models with the same --k")
        k = max(common)
        drawn = [
            Bar(name, *(_percent(result.estimates[metric]) for metric in ("pass@1", f"pass@{k}")), color)
            for name, result, color in of_data
        ]
        label = f"pass@1 (dark) and pass@{k} (pale), %"
        panels.append(Panel(title=data, x_label="", y_label=label, bars=drawn, y_range=(0, 110)))
        rows += [(data, bar.name, k, *bar.solid[1:], *bar.shaded[1:]) for bar in drawn]
    header = ("data", "model", "k", "pass@1_percent", "standard_error", "pass@k_percent", "pass@k_standard_error")
    return Plot(title="One response and several: pass@1 and pass@k", panels=panels, table=CsvTable(header, rows))


def _bars(runs: Mapping[str, Evaluations]) -> list[tuple[str, Results, int]]:
    """Names, results and colors; runs that began with equal results share one bar for these."""
    befores = [found.before for found in runs.values()]
    if all(_scores(before) == _scores(befores[0]) for before in befores):
        return [("before", befores[0], BEFORE), *((name, f.after, i) for i, (name, f) in enumerate(runs.items()))]
    return [
        (f"{name}, {when}", getattr(found, when), color)
        for color, (name, found) in enumerate(runs.items())
        for when in ("before", "after")
    ]


def _scores(results: Results) -> dict[tuple[str, str], Estimate]:
    return {(data, name): e for data, r in results.items() for name, e in r.estimates.items() if "pass@" in name}


def _ks(result: EvaluationResult) -> set[int]:
    found = (re.fullmatch(r"pass@(\d+)", name) for name in result.estimates)
    return {int(match[1]) for match in found if match} - {1}


def _percent(estimate: Estimate) -> Point:
    error = estimate.standard_error
    return Point(0, 100 * estimate.mean, None if error is None else 100 * error)
