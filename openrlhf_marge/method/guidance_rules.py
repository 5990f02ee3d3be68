"""The rules by which responses may guide a problem (Sec. 3.3, Table 4). Another package may bring its own, see
EXTENDING.md.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from openrlhf_marge.entry_points import Registry


@dataclass(frozen=True, kw_only=True)
class GuidanceRule:
    """One ``--marge.guidance_rule``."""

    # (share of correct ones in [0, 1] among the responses to pick from, --marge.guidance_threshold) -> the verdicts
    # that a response may have to guide: True for a correct one, False for an incorrect one.
    wanted: Callable[[float, float], Collection[bool]]
    picks_once: bool = False  # a problem's first guidance stays, and none is picked again


def by_pass_rate(pass_rate: float, threshold: float) -> Collection[bool]:
    """Incorrect ones for a problem with a pass rate above the threshold, otherwise correct ones (Sec. 3.3)."""
    return (not pass_rate > threshold,)


def _checked(named: str, loaded: Any) -> GuidanceRule:
    if not isinstance(loaded, GuidanceRule):
        raise ValueError(f"{named} is no GuidanceRule; see method/guidance_rules.py")
    return loaded


GUIDANCE_RULES: Registry[GuidanceRule] = Registry(
    flag="--marge.guidance_rule",
    group="openrlhf_marge.guidance_rules",
    own={
        "preference": GuidanceRule(wanted=by_pass_rate),
        "random": GuidanceRule(wanted=lambda pass_rate, threshold: (True, False)),
        "correct": GuidanceRule(wanted=lambda pass_rate, threshold: (True,)),
        "incorrect": GuidanceRule(wanted=lambda pass_rate, threshold: (False,)),
        "fixed": GuidanceRule(wanted=by_pass_rate, picks_once=True),
    },
    check=_checked,
)
