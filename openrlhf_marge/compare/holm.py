"""Which of several differences are shown when all are asked at once."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import TypeVar

from openrlhf_marge.compare.statistics import LEVEL, Difference, interval

K, D = TypeVar("K", bound=Hashable), TypeVar("D")


def holm(differences: Mapping[K, D], interval_of: Callable[[D, float], Difference] = interval) -> set[K]:
    """The keys whose difference is shown when all are asked at once: with LEVEL none is shown wrongly (Holm, 1979).

    Of m that are left, those count that are shown at 1 - (1 - LEVEL) / m; then the rest are asked again.
    """
    shown: set[K] = set()
    while left := differences.keys() - shown:
        level = 1 - (1 - LEVEL) / len(left)
        more = {name for name in left if interval_of(differences[name], level).is_shown}
        if not more:
            break
        shown |= more
    return shown
