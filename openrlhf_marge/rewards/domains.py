"""Rewards of other domains than math, by name. Another package brings more of them, see EXTENDING.md."""

from __future__ import annotations

from collections.abc import Callable

from openrlhf_marge.entry_points import Registry, function_of
from openrlhf_marge.rewards.countdown import countdown

MATH = "math"
DomainReward = Callable[[str, str], float]  # response and label, both texts -> a number in [0, 1]
REWARDS: Registry[DomainReward | None] = Registry(
    flag="--marge.reward",
    group="openrlhf_marge.rewards",
    own={MATH: None, "countdown": countdown},  # math is the package's grader of whole batches, see batch.py
    check=function_of("(response, label) -> float"),
)


class BadReward(ValueError):
    """A reward function returned no number in [0, 1]."""


def domain_reward(name: str, response: str, label: str) -> float:
    """What the function called ``name`` gives; BadReward or RuntimeError naming it, never a made-up zero."""
    try:
        returned = REWARDS.load(name)(response, label)
    except Exception as e:
        raise RuntimeError(f"--marge.reward {name} raised {type(e).__name__}: {e}") from e
    try:
        value = float(returned)
    except (TypeError, ValueError):
        value = float("nan")
    if not 0.0 <= value <= 1.0:  # also false for NaN
        raise BadReward(f"--marge.reward {name} returned {returned!r}; it must return a number in [0, 1]")
    return value
