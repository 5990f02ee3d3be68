"""Explorations -> sums, which add up over files and over stops."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields

from openrlhf_marge.method.groups import Exploration


@dataclass(frozen=True, kw_only=True)
class Totals:
    """Counts; ``pass_rates`` is the sum over all problems but those without room, of which nothing was sampled."""

    problems: int = 0
    problems_explored: int = 0  # that have completions
    problems_without_guidance: int = 0
    problems_without_room: int = 0
    states: int = 0
    states_with_signal: int = 0
    completions: int = 0
    completions_correct: int = 0
    candidate_tokens: int = 0
    probe_tokens: int = 0
    completion_tokens: int = 0
    pass_rates: float = 0.0

    def __add__(self, other: Totals) -> Totals:
        return Totals(**{f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(Totals)})

    @property
    def generated_tokens(self) -> int:
        """Tokens that the engines sampled, candidates and probes included."""
        return self.candidate_tokens + self.probe_tokens + self.completion_tokens

    def as_dict(self) -> dict[str, float]:
        """The counts, and the means that they give; a mean over nothing is left out."""
        counts = asdict(self)
        pass_rates = counts.pop("pass_rates")
        counts["generated_tokens"] = self.generated_tokens
        if sampled := self.problems - self.problems_without_room:
            counts["pass_rate"] = pass_rates / sampled
        if self.problems_explored:
            counts["states_per_problem"] = self.states / self.problems_explored
        return counts


def totals_of(explorations: Iterable[Exploration]) -> Totals:
    """The sums of some explorations."""
    return sum(map(_totals, explorations), Totals())


def _totals(exploration: Exploration) -> Totals:
    completions = [c for g in exploration.groups for c in g.completions]
    return Totals(
        problems=1,
        problems_explored=bool(exploration.groups),
        problems_without_guidance=exploration.no_guidance,
        problems_without_room=exploration.no_room,
        states=len(exploration.groups),
        states_with_signal=sum(g.has_signal for g in exploration.groups),
        completions=len(completions),
        completions_correct=sum(c.is_correct for c in completions),
        candidate_tokens=exploration.candidate_tokens,
        probe_tokens=exploration.probe_tokens,
        completion_tokens=sum(g.n_tokens for g in exploration.groups),
        pass_rates=exploration.pass_rate or 0.0,  # 0 where nothing was sampled
    )
