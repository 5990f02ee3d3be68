"""Sums of which means and their standard errors follow, and which add up over files."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Moments:
    """Of numbers in [0, 1]: how many, their sum, the sum of their squares."""

    count: int = 0
    total: float = 0.0
    squares: float = 0.0

    @classmethod
    def of(cls, values: Iterable[float]) -> Moments:
        found = list(values)
        return cls(len(found), math.fsum(found), math.fsum(v * v for v in found))

    def __add__(self, other: Moments) -> Moments:
        return Moments(self.count + other.count, self.total + other.total, self.squares + other.squares)

    @property
    def mean(self) -> float:
        """ZeroDivisionError without numbers."""
        return self.total / self.count

    @property
    def error(self) -> float | None:
        """Standard error of the mean; None for a single number, which has none."""
        if self.count < 2:
            return None
        variance = (self.squares - self.total * self.mean) / (self.count - 1)
        return math.sqrt(max(variance, 0.0) / self.count)
