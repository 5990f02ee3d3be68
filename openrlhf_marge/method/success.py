"""Predicts the value of every state of a guidance from what the visits of its problem saw so far.

The model is one of item response in two numbers for each problem. Along a correct guidance, what is left to get wrong
shrinks from h at s_0 to 0 at its end: V(t) = exp(-h (1 - t)^a), where t is the share of the guidance before the state.
Steps that fail independently of each other give a = 1; a above 1 says that the hard part comes early, below 1 late.
Along an incorrect guidance the same holds for failure: 1 - V(t) = exp(-h (1 - t)^a). V is thus monotone in t, equals
the pass rate at s_0, and is 1 (0) at the end. The posterior over a grid of (h, a) gives predictions that know how
little was seen. (Ours; SEELE, arXiv 2509.06923, fits such a model to hint lengths of all problems together.)
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

LEAST_WEIGHT = 0.05  # of what a visit saw, below which it is forgotten


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcomes:
    """Of ``n`` completions of a state, sampled in one visit, so many were correct."""

    visit: int
    position: float  # of the state in its guidance, in [0, 1): 0 at s_0
    on_correct: bool | None  # the verdict on its guidance; None at s_0
    n_correct: int
    n: int


def predicted(
    seen: Iterable[Outcomes], positions: Sequence[float], on_correct: bool, visit: int, memory: float
) -> tuple[np.ndarray, np.ndarray]:
    """Expected V and expected V (1 - V) of states at these positions, each of shape (positions,).

    ``seen`` are outcomes of the problem at s_0 and along guidances; those along guidances of the other verdict say
    nothing and are left out. What was seen k visits before ``visit`` counts ``memory ** k``: the policy has moved.
    """
    h, a, prior = _grid()
    log_posterior = np.log(prior)
    for outcomes in seen:
        if outcomes.on_correct in (None, on_correct):
            weight = memory ** (visit - outcomes.visit)
            log_posterior = log_posterior + weight * _log_likelihood(outcomes, h, a, on_correct)
    posterior = np.exp(log_posterior - log_posterior.max())
    posterior /= posterior.sum()
    values = _values(np.asarray(positions, dtype=float)[:, None], h, a, on_correct)
    return values @ posterior, (values * (1 - values)) @ posterior


def remembered(seen: Iterable[Outcomes], visit: int, memory: float) -> tuple[Outcomes, ...]:
    """Those that still count at ``visit``."""
    return tuple(outcomes for outcomes in seen if memory ** (visit - outcomes.visit) >= LEAST_WEIGHT)


def _values(position: np.ndarray | float, h: np.ndarray, a: np.ndarray, on_correct: bool) -> np.ndarray:
    survival = np.exp(-h * (1 - position) ** a)
    return survival if on_correct else 1 - survival


def _log_likelihood(outcomes: Outcomes, h: np.ndarray, a: np.ndarray, on_correct: bool) -> np.ndarray:
    values = _values(outcomes.position, h, a, on_correct).clip(1e-9, 1 - 1e-9)
    return outcomes.n_correct * np.log(values) + (outcomes.n - outcomes.n_correct) * np.log(1 - values)


@cache
def _grid() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """h, a and their prior probabilities, each of shape (cells,).

    h is log-uniform and stands for pass rates at s_0 from 0.0003 to 0.98; a is log-normal around 1.
    """
    h, a = np.meshgrid(np.geomspace(0.02, 8.0, 25), np.geomspace(0.25, 4.0, 9))
    prior = np.exp(-(np.log(a) ** 2) / (2 * 0.7**2))
    return h.ravel(), a.ravel(), prior.ravel() / prior.sum()
