"""Chooses visits of a dump that is too large for a page: whole visits, and all visits of a problem together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from openrlhf_marge.report.reading import VisitRows
from openrlhf_marge.seeds import stable_hash


@dataclass(frozen=True, slots=True)
class Count:
    """How much there is of a dump, or of a sample."""

    problems: int
    visits: int
    completions: int

    @classmethod
    def of(cls, visits: Sequence[VisitRows]) -> Count:
        return cls(len({v.problem_id for v in visits}), len(visits), sum(v.end - v.start for v in visits))

    def __str__(self) -> str:
        counts = dict(completion=self.completions, visit=self.visits, problem=self.problems)
        return " of ".join(f"{count:,} {noun}{'s' * (count != 1)}" for noun, count in counts.items())


def sample_visits(visits: Sequence[VisitRows], max_completions: int, seed: int) -> list[VisitRows]:
    """As many as have ``max_completions`` together, at least one, in the order given.

    Problems come by a hash of seed and problem id, each with its visits from the first on, until one does not fit. So
    which are shown depends on nothing else, and a larger number shows the same ones and more.
    """
    places = sorted(range(len(visits)), key=lambda i: (stable_hash("report", seed, visits[i].problem_id), i))
    chosen, completions = [], 0
    for place in places:
        completions += visits[place].end - visits[place].start
        if chosen and completions > max_completions:
            break
        chosen.append(place)
    return [visits[place] for place in sorted(chosen)]


def sampling_sentence(shown: Count, found: Count, seed: int, max_completions: int) -> str:
    """What of the dump is on the page."""
    if shown == found:
        return f"Everything of the dump is here: {found}."
    return (
        f"This is a sample: {shown}, out of {found}. Problems are drawn with seed {seed}, with all their visits as "
        f"far as --max_completions {max_completions:,} reaches."
    )
