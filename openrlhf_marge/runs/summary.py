"""RUN/summary.json: what a run says of itself, read and checked in one place."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from openrlhf_marge.data.files import read_object
from openrlhf_marge.data.redaction import redacted_words
from openrlhf_marge.runs.folder import flag_values

SUMMARY = "summary.json"


@dataclass(frozen=True, kw_only=True)
class RunSummary:
    """Of any run. Keys of the file that are no fields are in ``everything`` alone."""

    training_flags: tuple[str, ...] = ()  # without secrets
    best_model: str = ""  # of a loop: its folder, or the model that the loop began with
    generated_tokens: int | float | None = None
    versions: dict[str, str] = field(default_factory=dict)
    everything: dict[str, Any] = field(default_factory=dict)  # as it stands in the file

    @property
    def flags(self) -> dict[str, str]:
        """The training flags and their values."""
        return flag_values(self.training_flags)


@dataclass(frozen=True, kw_only=True)
class RlSummary(RunSummary):
    """Of a run of train_ppo_ray."""

    training_flags: tuple[str, ...]
    method: str  # --experience_maker
    kind: str | None = None  # of a comparison, as is the budget
    budget: str | None = None
    name: str | None = None


@dataclass(frozen=True, kw_only=True)
class Explored:
    """Of an exploration."""

    completions: int
    generated_tokens: int
    pass_rate: float | None = None


@dataclass(frozen=True, kw_only=True)
class Iteration:
    """Of a DPO loop; ``seconds`` by stage."""

    explored: Explored
    seconds: dict[str, float]


@dataclass(frozen=True, kw_only=True)
class Before:
    """The evaluation of the model that a DPO loop began with."""

    model: str


@dataclass(frozen=True, kw_only=True)
class LoopSummary(RunSummary):
    """Of a DPO loop."""

    kind: str
    before: Before
    best_iteration: int
    iterations: tuple[Iteration, ...] = ()


Summary = TypeVar("Summary", bound=RunSummary)


def read_summary(run: Path, kind: type[Summary]) -> Summary:
    """OSError when there is no file; ValueError naming it, and a key that is missing or of another type."""
    found = read_object(run / SUMMARY)
    try:
        summary = msgspec.convert(found, kind)
    except (ValueError, RecursionError) as e:  # msgspec's errors are the first, and half a surrogate pair
        raise ValueError(f"{run / SUMMARY} is not as a run writes it: {e}; mend it or move it away") from e
    return replace(summary, training_flags=tuple(redacted_words(summary.training_flags)), everything=found)


def find_summary(run: Path) -> RunSummary:
    """As ``read_summary``, with nothing in it where the run has none."""
    return read_summary(run, RunSummary) if (run / SUMMARY).exists() else RunSummary()
