"""Problems and engines of a rollout, divided among explorers, and what these found put together again."""

from __future__ import annotations

from bisect import bisect
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise

from openrlhf_marge.method.groups import Exploration
from openrlhf_marge.method.guidance import GuidancePool, PoolState


@dataclass(frozen=True, kw_only=True)
class Explored:
    """A piece of what an explorer answers with; each of its problems is in one piece."""

    places: Sequence[int]  # of the problems among those that it got
    explorations: Sequence[Exploration]  # of these problems
    pool: PoolState  # what is known of them now
    counts: dict[str, float]


def engine_shares(n_engines: int, n_explorers: int) -> list[range]:
    """The numbers of each explorer's engines: neighbours, of which the shares differ by one at most."""
    bounds = [n_engines * number // n_explorers for number in range(n_explorers + 1)]
    return [range(start, end) for start, end in pairwise(bounds)]


def divide(problem_ids: Sequence[str], engines: Sequence[range]) -> list[list[int]]:
    """For each explorer the places of its problems, ascending; as many as it has engines among all.

    Neighbours stay together. A problem that comes again goes where it went first, for the visits of a problem go one
    after the other.
    """
    ends, n_engines = [share.stop for share in engines], engines[-1].stop
    explorer_of: dict[str, int] = {}
    places: list[list[int]] = [[] for _ in engines]
    for place, problem_id in enumerate(problem_ids):
        explorer = bisect(ends, place * n_engines // len(problem_ids))
        places[explorer_of.setdefault(problem_id, explorer)].append(place)
    return places


def merge(
    places: Sequence[Sequence[int]], answers: Sequence[Sequence[Explored]], pool: GuidancePool
) -> tuple[list[Exploration], dict[str, float]]:
    """The explorations in the order of the rollout's problems, and sums of the counts; the pool takes over the rest.

    ``places`` are those of ``divide``, without the explorers that got nothing; ``answers`` are their pieces in the
    order in which they came.
    """
    explorations: dict[int, Exploration] = {}
    counts: Counter[str] = Counter()
    for of_one, pieces in zip(places, answers, strict=True):
        for piece in pieces:
            explorations.update(zip((of_one[place] for place in piece.places), piece.explorations, strict=True))
            pool.update(piece.pool)
            counts.update(piece.counts)
    return [explorations[place] for place in range(len(explorations))], dict(counts)


def known_of(pool: GuidancePool, problem_ids: Collection[str]) -> PoolState:
    """What an explorer gets of the pool with its problems, and gives back."""
    return pool.state_dict(dict.fromkeys(problem_ids))
