"""Seconds by phase, of an iteration or of a run."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

PHASES = ("generation", "log_probs", "training", "sync")


@dataclass(frozen=True, kw_only=True)
class Seconds:
    """Of an iteration, or of several. ``engine`` and ``grader`` overlap within generation."""

    generation: float
    log_probs: float
    training: float
    sync: float
    engine: float
    grader: float
    overlap: float = 0.0  # of exploring and training in asynchronous training

    @property
    def total(self) -> float:
        return sum(getattr(self, name) for name in PHASES) - self.overlap

    def overlapping(self) -> Seconds:
        """The same iteration of asynchronous training."""
        return replace(self, overlap=min(self.generation, self.log_probs + self.training + self.sync))

    def times(self, factor: float) -> Seconds:
        return Seconds(**{field.name: getattr(self, field.name) * factor for field in fields(self)})

    def __add__(self, other: Seconds) -> Seconds:
        return Seconds(**{f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(self)})
