"""Numbers that come in clusters: their mean and its standard error."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True, eq=False)
class Clustered:
    """``values`` (floats) and the name or number of the cluster of each, both of one length."""

    values: np.ndarray
    clusters: np.ndarray

    @classmethod
    def joined(cls, parts: Iterable[Clustered]) -> Clustered:
        """All numbers of some; clusters of one name are one."""
        values, clusters = zip(*((part.values, part.clusters) for part in parts), strict=True)
        return cls(np.concatenate(values), np.concatenate(clusters))

    @classmethod
    def apart(cls, values: Iterable[float]) -> Clustered:
        """Each number in a cluster of its own."""
        found = np.array(list(values), dtype=float)
        return cls(found, np.arange(len(found)).astype(object))

    @property
    def count(self) -> int:
        return len(self.values)

    @property
    def mean(self) -> float:
        """nan without numbers."""
        return float(self.values.mean())

    @property
    def error(self) -> float | None:
        """Standard error of the mean, for which numbers of a cluster are no news of each other; None for one cluster.

        Residuals are summed by cluster before they are squared (Liang and Zeger, 1986), with n / (n - 1) for n
        clusters: with one number in each this is the usual standard error.
        """
        _, places = np.unique(self.clusters, return_inverse=True)
        sums = np.bincount(places, self.values - self.values.mean())
        n = len(sums)
        return math.sqrt(n / (n - 1) * float(sums @ sums)) / self.count if n > 1 else None
