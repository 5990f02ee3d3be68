"""What a reward function returns for one query -> Reward."""

from __future__ import annotations

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

    ValueError with the mend when the reward is missing or lies outside [0, 1].
    """
    if not isinstance(returned, dict) or returned.get("rewards") is None:
        raise ValueError(
            "the reward function returned nothing; it must return {'rewards': [number]}, one in [0, 1] per query"
        )
    value = scalar(returned["rewards"])
    if not 0.0 <= value <= 1.0:
        raise ValueError(f"the reward is {value}; it must lie in [0, 1]")
    score = scalar(returned["scores"]) if returned.get("scores") is not None else value
    extra = tuple((key, scalar(v)) for key, v in (returned.get("extra_logs") or {}).items())
    return Reward(value=value, is_correct=score > CORRECT_ABOVE, extra_logs=extra)


def scalar(value: Any) -> float:
    """The one number in a tensor, a list of one, or a number."""
    if hasattr(value, "flatten"):  # torch or numpy
        value = value.flatten().tolist()
    while isinstance(value, (list, tuple)):
        if len(value) != 1:
            raise ValueError(f"got {len(value)} numbers for one query")
        value = value[0]
    return float(value)
