"""What exploration with guidance gains over vanilla exploration of the same problems, by their pass rate.

Arrays are [problems, visits], NaN where a problem was not visited. A visit's s_0 group is what vanilla exploration
would have had. It must not choose the band that the visit is counted in: near 0 and 1 the visits whose samples are
lucky for a band have little outcome diversity, and everything else looks good beside them. So a visit is banded by the
s_0 groups of the other visits of its problem (cross-fitting).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

BANDS = (0.0, 0.15, 0.35, 0.5, 0.65, 0.85, 1.0)
ROUNDS, LEVEL = 1000, 0.9


@dataclass(frozen=True)
class Cost:
    """Of every visit: outcome diversity summed over completions (``metrics.outcome_diversity``), and tokens."""

    diversity: np.ndarray
    tokens: np.ndarray


@dataclass(frozen=True)
class Gain:
    """Diversity per token over vanilla's with its bootstrap interval over problems."""

    ratio: float
    low: float
    high: float


def band_of(rates: np.ndarray) -> np.ndarray:
    """Place of the band of every visit by the mean rate of the other visits, -1 where there is none."""
    seen = ~np.isnan(rates)
    others = seen.sum(axis=1, keepdims=True) - seen
    mean = (np.nansum(rates, axis=1, keepdims=True) - np.nan_to_num(rates)) / np.maximum(others, 1)
    # Rates are multiples of 1 / n, so an edge is met exactly; it belongs to the band below it.
    return np.where(seen & (others > 0), np.searchsorted(BANDS[1:-1], mean), -1)


def gain(guided: Cost, vanilla: Cost, chosen: np.ndarray, rng: np.random.Generator) -> Gain:
    """Over the chosen visits; of a problem in the bootstrap all its chosen visits are drawn together."""
    sums = np.stack([
        np.where(chosen, values, 0).sum(axis=1)
        for values in (guided.diversity, guided.tokens, vanilla.diversity, vanilla.tokens)
    ])[:, chosen.any(axis=1)]  # fmt: skip
    n = sums.shape[1]
    draws = rng.multinomial(n, np.full(n, 1 / n), size=ROUNDS)
    low, high = np.quantile(_ratio(sums @ draws.T), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Gain(float(_ratio(sums.sum(axis=1))), float(low), float(high))


def _ratio(sums: np.ndarray) -> np.ndarray:
    diversity, tokens, of_vanilla, tokens_of_vanilla = sums
    return diversity / tokens / (of_vanilla / tokens_of_vanilla)
