"""Reads a run folder beside its dump: results from summary.json, curves from the TensorBoard log."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict

from openrlhf_marge.data.redaction import redacted
from openrlhf_marge.method import metrics
from openrlhf_marge.report.model import FAILURES, number
from openrlhf_marge.runs import log
from openrlhf_marge.runs.log import Series, read_series, state_value_curve

# Title -> the series in it, by their names.
CURVES = {
    "Reward of completions, mean": {"": log.REWARD},
    "Pass rate, from s_0": {"": metrics.PASS_RATE},
    "Groups with signal, share": {"": metrics.GROUPS_WITH_SIGNAL},
    "Outcome diversity per 1000 tokens": {"": metrics.OUTCOME_DIVERSITY},
    "States per problem": {"": metrics.STATES_PER_PROBLEM},
    "Generated tokens": {"": metrics.GENERATED_TOKENS},
    "Correct guidance, share": {"": metrics.GUIDANCE_CORRECT},
    "Completion length, tokens": {"": log.LENGTH},
    "KL to the reference": {"": log.KL},
    "Problems without guidance": {"": metrics.WITHOUT_GUIDANCE},
    "Grader failures, share": {reason.replace("_", " "): name for name, reason in FAILURES.items()},
}
MAX_POINTS = 500  # of a curve


class CurveData(TypedDict):
    title: str
    x: str
    series: list[tuple[str, list[tuple[int, float]]]]  # name -> points


def facts(summary: Mapping[str, Any], before: str = "") -> dict[str, str]:
    """Everything in the summary but the flags; the names of nested keys are joined."""
    found = {}
    for key, value in summary.items():
        name = f"{before}{key}"
        if isinstance(value, dict):
            found |= facts(value, f"{name} ")
        elif key != "training_flags":
            found[name] = f"{value:.4g}" if isinstance(value, float) else redacted(str(value))
    return found


def headline(known: Mapping[str, str]) -> list[tuple[str, str]]:
    """The facts of a run that one wants to know first."""
    names = ("method", "seed", "steps", "generated_tokens")
    found = [(name.replace("_", " "), known[name]) for name in names if name in known]
    for name, value in known.items():
        if (score := re.fullmatch(r"before (pass@\d+)", name)) and (after := known.get(f"after {score[1]}")):
            found.append((f"held-out {score[1]}", f"{value} \u2192 {after}"))
    return found


def read_curves(run: Path) -> list[CurveData]:
    """The curves that the log below the run folder has; FileNotFoundError when there is no log."""
    series = read_series(run)
    found = [_over_steps(title, tags, series) for title, tags in CURVES.items()]
    by_state = [(f"{kind} guidance", _points(state_value_curve(series, kind))) for kind in ("correct", "incorrect")]
    found.insert(2, CurveData(title="Value by state index, mean V(s_j)", x="state index", series=by_state))
    return [curve for curve in found if any(points for _, points in curve["series"])]


def _over_steps(title: str, shown: Mapping[str, str], series: Series) -> CurveData:
    tags = {name: log.TRAIN + logged for name, logged in shown.items()}
    return CurveData(
        title=title, x="step", series=[(name, _points(series[tag])) for name, tag in tags.items() if tag in series]
    )


def _points(series: Sequence[tuple[int, float]]) -> list[tuple[int, float]]:
    """At most ``MAX_POINTS``, evenly spread; without NaN and infinity."""
    step = -(-len(series) // MAX_POINTS) or 1
    return [(x, shown) for x, y in series[::step] if (shown := number(y)) is not None]
