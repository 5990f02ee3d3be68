"""Graded responses per problem -> pass@k with its standard error."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PassAtK:
    """Mean over the problems of the unbiased estimate, and its standard error (over problems)."""

    mean: float
    standard_error: float


def pass_at_k(n: int, n_correct: int, k: int) -> float:
    """1 - C(n - c, k) / C(n, k): the chance that one of k responses drawn from n is correct (Chen et al., 2021)."""
    if not 0 <= n_correct <= n or not 1 <= k <= n:
        raise ValueError(f"pass@{k} of {n_correct} correct among {n} responses is not defined")
    return 1.0 - math.comb(n - n_correct, k) / math.comb(n, k)


def mean_pass_at_k(n_correct_per_problem: Sequence[int], n: int, k: int) -> PassAtK:
    """pass@k over problems with n responses each."""
    values = [pass_at_k(n, c, k) for c in n_correct_per_problem]
    if not values:
        raise ValueError("there are no problems to evaluate")
    mean = math.fsum(values) / len(values)
    variance = math.fsum((v - mean) ** 2 for v in values) / max(len(values) - 1, 1)
    return PassAtK(mean, math.sqrt(variance / len(values)))
