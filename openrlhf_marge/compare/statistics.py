"""Scores over problems and seeds -> means, standard errors, and paired bootstrap intervals."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from openrlhf_marge.seeds import stable_hash

ROUNDS, CHUNK = 2000, 100  # bootstrap samples, and how many of them are in memory at once
LEVEL = 0.95

Problem = tuple[int, str]  # place in the data, text


@dataclass(frozen=True)
class Scores:
    """A metric of one run on one data set: ``values[i]`` of ``problems[i]``, in [0, 1]."""

    problems: tuple[Problem, ...]
    values: np.ndarray

    @property
    def mean(self) -> float:
        return float(self.values.mean())

    def minus(self, other: Scores) -> Scores:
        """The differences on the problems that both have; ValueError when there is none."""
        places = {problem: i for i, problem in enumerate(other.problems)}
        common = [(i, places[p], p) for i, p in enumerate(self.problems) if p in places]
        if not common:
            raise ValueError("the runs to compare were evaluated on different problems; give them the same data")
        mine, others, problems = zip(*common, strict=True)
        return Scores(problems, self.values[list(mine)] - other.values[list(others)])


@dataclass(frozen=True)
class Mean:
    """Over the seeds; ``standard_error`` is None with a single one."""

    value: float
    standard_error: float | None


@dataclass(frozen=True)
class Difference:
    """Mean of a method minus that of the baseline, and the bounds of its interval."""

    value: float
    low: float
    high: float


def over_seeds(runs: Mapping[int, Scores]) -> Mean:
    """Every seed counts the same."""
    means = np.array([scores.mean for scores in runs.values()])
    error = float(means.std(ddof=1) / math.sqrt(len(means))) if len(means) > 1 else None
    return Mean(float(means.mean()), error)


def paired(method: Mapping[int, Scores], baseline: Mapping[int, Scores]) -> list[Scores]:
    """Differences by seed; a run that stands for all seeds is paired with each."""
    seeds = max(method, baseline, key=len)
    return [of_seed(method, seed).minus(of_seed(baseline, seed)) for seed in seeds]


def of_seed(runs: Mapping[int, Scores], seed: int) -> Scores:
    """The run with the seed, or the one that stands for all."""
    return runs[seed] if seed in runs else next(iter(runs.values()))


def bootstrap(differences: Sequence[Scores], *purpose: object) -> Difference:
    """Percentile interval of the mean difference (Efron and Tibshirani, 1993), over problems and seeds.

    Every round draws seeds and problems with replacement. Seeds that were evaluated on the same problems share the
    draw of problems: a problem that is hard is so for all of them. Of n seeds the draws vary by (n - 1) / n of their
    variance, so that intervals over few are too narrow. ``purpose`` seeds the draws.
    """
    rng = np.random.default_rng(stable_hash(*purpose))
    means = np.concatenate(list(_resampled(differences, rng)))
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Difference(float(np.mean([d.mean for d in differences])), float(low), float(high))


def _resampled(differences: Sequence[Scores], rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Means of the bootstrap samples, CHUNK at a time."""
    n = len(differences)
    problem_sets = {d.problems: len(d.problems) for d in differences}
    for _ in range(ROUNDS // CHUNK):
        drawn = {problems: rng.integers(size, size=(CHUNK, size)) for problems, size in problem_sets.items()}
        by_seed = np.stack([d.values[drawn[d.problems]].mean(axis=1) for d in differences], axis=1)  # [CHUNK, n]
        yield np.take_along_axis(by_seed, rng.integers(n, size=(CHUNK, n)), axis=1).mean(axis=1)
