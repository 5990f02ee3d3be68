"""Checks what a reward function returns for one query, and makes a Reward of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

CORRECT_ABOVE = 0.5  # a score above this counts as a correct response


@dataclass(frozen=True, slots=True)
class Reward:
    """One graded response."""

    value: float
    is_correct: bool
    extra_logs: tuple[tuple[str, float], ...]


def parse_reward(returned: Any) -> Reward:
    """Reward from a reward function's answer for one query: ``{"rewards": ..., "scores": ..., "extra_logs": ...}``.

    ValueError with the mend when the reward is missing, it or the score lies outside [0, 1], or a number to be logged
    is none.
    """
    if not isinstance(returned, dict) or returned.get("rewards") is None:
        raise ValueError(
            "the reward function returned nothing; it must return {'rewards': [number]}, one in [0, 1] per query"
        )
    value = share("reward", returned["rewards"])
    score = share("score", returned["scores"]) if returned.get("scores") is not None else value
    logs = returned.get("extra_logs")
    if logs is not None and not isinstance(logs, Mapping):
        raise ValueError(f"extra_logs is a {type(logs).__name__}; it must be a dictionary of names and numbers")
    extra = tuple((str(key), finite(f"number {key!r} of extra_logs", v)) for key, v in (logs or {}).items())
    return Reward(value=value, is_correct=score > CORRECT_ABOVE, extra_logs=extra)


def share(name: str, value: Any) -> float:
    """The number, of that name, in [0, 1]."""
    number = scalar(name, value)
    if not 0.0 <= number <= 1.0:  # also false for NaN
        raise ValueError(f"the {name} is {number}; it must lie in [0, 1]")
    return number


def finite(name: str, value: Any) -> float:
    """The number, of that name, which is no NaN and no infinity: the mean of a batch would become that, too."""
    number = scalar(name, value)
    if not math.isfinite(number):
        raise ValueError(f"the {name} is {number}; it must be finite, so leave it out or return another number")
    return number


def scalar(name: str, value: Any) -> float:
    """The one number in a tensor, a list of one, or a number."""
    if hasattr(value, "flatten"):  # torch or numpy
        value = value.flatten().tolist()
    while isinstance(value, (list, tuple)):
        if len(value) != 1:
            raise ValueError(f"the {name} is {len(value)} numbers for one query; return one per query")
        value = value[0]
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"the {name} is {value!r:.80}; return a number") from None
