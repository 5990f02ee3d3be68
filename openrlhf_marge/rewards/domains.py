"""Rewards of other domains than math, by name.

One's own is a function ``(response, label) -> float in [0, 1]`` under the entry-point group
``openrlhf_marge.rewards``; its entry's name is what ``--marge.reward`` takes. Both arguments are texts, the response
as the model wrote it, special tokens at its end included. The function must be installed on every node, and is called
in several threads at once.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

from openrlhf_marge.entry_points import load_installed

ENTRY_POINT_GROUP = "openrlhf_marge.rewards"
MATH = "math"  # the package's own grader, which is no entry point
DomainReward = Callable[[str, str], float]


class BadReward(ValueError):
    """A reward function returned no number in [0, 1]."""


@functools.cache  # every response asks, and entry points are read from disk
def load_reward(name: str) -> DomainReward:
    """The function called ``name``; ValueError when nothing of that name is installed, or it cannot be loaded."""
    function, source = load_installed("--marge.reward", name, ENTRY_POINT_GROUP, [MATH])
    if not callable(function):
        raise ValueError(f"--marge.reward {name} ({source}) is no function (response, label) -> float")
    return function


def domain_reward(name: str, response: str, label: str) -> float:
    """What the function called ``name`` gives; BadReward or RuntimeError naming it, never a made-up zero."""
    try:
        returned = load_reward(name)(response, label)
    except Exception as e:
        raise RuntimeError(f"--marge.reward {name} raised {type(e).__name__}: {e}") from e
    try:
        value = float(returned)
    except (TypeError, ValueError):
        value = float("nan")
    if not 0.0 <= value <= 1.0:  # also false for NaN
        raise BadReward(f"--marge.reward {name} returned {returned!r}; it must return a number in [0, 1]")
    return value
