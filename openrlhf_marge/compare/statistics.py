"""Scores over problems and seeds -> means, standard errors, and t intervals of paired differences."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from scipy.special import stdtrit

from openrlhf_marge.evaluation.estimates import Estimate, estimate_of

LEVEL = 0.95
ROUNDING = 1e-9  # of shares

ProblemKey = tuple[int, str]  # place in the data, text


@dataclass(frozen=True)
class Scores:
    """A metric of one run on one data set: ``values[i]`` of ``problems[i]``, in [0, 1]."""

    problems: tuple[ProblemKey, ...]
    values: np.ndarray

    @property
    def mean(self) -> float:
        return float(self.values.mean())

    def minus(self, other: Scores) -> Scores:
        """The differences on the problems that both have; ValueError when there is none."""
        mine, others = self.common(other)
        if not mine:
            raise ValueError("the runs to compare were evaluated on different problems; give them the same data")
        return Scores(tuple(self.problems[i] for i in mine), self.values[mine] - other.values[others])

    def common(self, other: Scores) -> tuple[list[int], list[int]]:
        """Places here and there of the problems that both have."""
        if self.problems == other.problems:
            return (every := list(range(len(self.problems)))), every
        places = {problem: i for i, problem in enumerate(other.problems)}
        mine = [i for i, problem in enumerate(self.problems) if problem in places]
        return mine, [places[self.problems[i]] for i in mine]


@dataclass(frozen=True)
class Difference:
    """Mean of a method minus that of the baseline.

    ``margin`` is half its interval, None where nothing varies that it could be made of: one seed and problem, or
    differences that are all alike and not 0.
    """

    value: float
    margin: float | None

    @property
    def bounds(self) -> tuple[float, float] | None:
        return None if self.margin is None else (self.value - self.margin, self.value + self.margin)

    @property
    def is_shown(self) -> bool:
        """Whether the interval leaves 0 out."""
        return self.margin is not None and abs(self.value) > self.margin


def over_seeds(runs: Mapping[int, Scores]) -> Estimate:
    """Mean over the seeds, each with the same weight, and its standard error."""
    return estimate_of([scores.mean for scores in runs.values()])


def paired(method: Mapping[int, Scores], baseline: Mapping[int, Scores]) -> list[Scores]:
    """Differences by seed; a run that stands for all seeds is paired with each."""
    seeds = max(method, baseline, key=len)
    return [of_seed(method, seed).minus(of_seed(baseline, seed)) for seed in seeds]


def of_seed(runs: Mapping[int, Scores], seed: int) -> Scores:
    """The run with the seed, or the one that stands for all."""
    return runs[seed] if seed in runs else next(iter(runs.values()))


def interval(differences: Sequence[Scores], level: float = LEVEL) -> Difference:
    """The mean difference over seeds, and its interval over seeds and problems; of one seed over problems alone.

    With n seeds the mean varies by what their means D_s vary by, s^2 / n with n - 1 degrees of freedom, and, where the
    seeds answered the same problems, by what all D_s have in common, which that variance cannot see: the covariance of
    two of them. Each has its t margin, and the margins' squares add up (MOVER; Zou and Donner, 2008). Where seeds
    happen to agree, what the problems alone say is the least. Joint degrees of freedom (Satterthwaite) would be too
    many for 2 or 3 seeds, and a bootstrap draws n seeds with (n - 1) / n of their variance and the tails of a normal
    distribution. tests/test_compare_coverage.py simulates it.
    """
    n, n_problems = len(differences), max(len(d.values) for d in differences)
    of_seeds = interval_of_means([d.mean for d in differences], level)
    if n == n_problems == 1:
        return of_seeds
    own = [_covariance(d, d) for d in differences]
    shared = [_covariance(a, b) for a, b in combinations(differences, 2)]
    of_problems = (sum(own) + 2 * sum(shared)) / n**2
    over_both = math.hypot(
        of_seeds.margin or 0.0,
        _margin(float(np.mean(shared)), n_problems, level) if n > 1 else 0.0,
    )
    return _known(of_seeds.value, max(over_both, _margin(of_problems, n_problems, level)))


def interval_of_means(differences: Sequence[float], level: float = LEVEL) -> Difference:
    """The t interval over seeds alone, from the mean difference of each: for tables made anew from rows.

    ValueError without any. A seed is an independent draw of all that varies, base model and held-out set included, so
    each has its own. Seeds that answer the same problems share what these vary by, which needs ``interval``.
    """
    if not (n := len(differences)):
        raise ValueError("there is no difference to make an interval of; give at least one seed")
    means = np.array(differences, dtype=float)
    return _known(float(means.mean()), _margin(float(means.var(ddof=1)) / n, n, level) if n > 1 else None)


def _known(value: float, margin: float | None) -> Difference:
    """Without the margin where nothing varies but rounding: a width of 0 would say that chance had no part."""
    return Difference(value, None if margin is not None and margin < ROUNDING < abs(value) else margin)


def _margin(variance: float, n: int, level: float) -> float:
    return t_quantile(n, level) * math.sqrt(variance) if variance > 0 else 0.0


def t_quantile(n: int, level: float = LEVEL) -> float:
    """Half the width of a t interval of the mean of n numbers, in standard errors."""
    return float(stdtrit(n - 1, (1 + level) / 2))


def _covariance(a: Scores, b: Scores) -> float:
    """Covariance of the two means, by the problems that both have; 0 where these are fewer than two."""
    mine, others = a.common(b)
    if len(mine) < 2:
        return 0.0
    return float(np.cov(a.values[mine], b.values[others])[0, 1]) * len(mine) / (len(a.values) * len(b.values))
