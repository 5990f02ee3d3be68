"""pass@k of one problem, and what the values of many problems say of all problems."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean, and its standard error, None of a single value, which says nothing about others."""

    mean: float
    standard_error: float | None


def pass_at_k(n: int, n_correct: int, k: int) -> float:
    """1 - C(n - c, k) / C(n, k): the chance that one of k responses drawn from n is correct (Chen et al., 2021).

    ValueError when k is above n: that would be extrapolated, not estimated.
    """
    if not 0 <= n_correct <= n or not 1 <= k <= n:
        raise ValueError(f"pass@{k} of {n_correct} correct among {n} responses is not defined")
    return 1.0 - math.comb(n - n_correct, k) / math.comb(n, k)


def over_problems(values: Sequence[Mapping[str, float]]) -> dict[str, Estimate]:
    """Every metric over the problems, all of which have the same metrics; ValueError when there is no problem."""
    if not values:
        raise ValueError("there are no problems to evaluate")
    return {name: estimate_of([of_problem[name] for of_problem in values]) for name in values[0]}


def estimate_of(values: Sequence[float]) -> Estimate:
    """Of values that are drawn independently of each other, at least one."""
    n = len(values)
    mean = math.fsum(values) / n
    if n == 1:
        return Estimate(mean, None)
    return Estimate(mean, math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (n - 1) / n))
