"""What a visit of a problem samples, as token ids: of a pilot, made from lengths by hand, or of the stock baseline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import cycle, islice
from typing import Any

import numpy as np

COPY = 2**40  # what ids of a copy are raised by, so that copies share nothing; above all ids


@dataclass(frozen=True, kw_only=True, eq=False)
class SampledState:
    """``context`` (P,) is the prompt and the state; each completion is (T,) token ids."""

    context: np.ndarray
    prefix: int  # tokens of the state, the last ones of the context
    completions: tuple[np.ndarray, ...]
    trained: tuple[np.ndarray, ...] = ()  # those of them that are trained on
    has_signal: bool = True  # whether rewards, or advantages of their own, tell completions apart
    has_credit: bool = False  # whether its value is another than that of the state before it

    @property
    def rows(self) -> list[np.ndarray]:
        """What the policy is trained on: context and completion."""
        return [np.concatenate([self.context, ids]) for ids in self.trained]

    @property
    def lengths(self) -> list[int]:
        return [len(ids) for ids in self.completions]

    def with_completions(self, n: int) -> SampledState:
        """The same with n completions: the first ones, or copies of them that share no token."""
        if n == len(self.completions):
            return self
        ids = [ids + COPY * (1 + i // len(self.completions)) for i, ids in enumerate(repeated(self.completions, n))]
        return replace(self, completions=tuple(ids), trained=tuple(ids) if self.trained else ())


@dataclass(frozen=True, kw_only=True, eq=False)
class SampledVisit:
    """``states`` are trained on, s_0 first; ``untrained`` are candidates and probes."""

    problem: str
    states: tuple[SampledState, ...]
    untrained: tuple[SampledState, ...] = ()
    text: str = ""  # of the prompt, where it is known

    @property
    def prompt(self) -> np.ndarray:
        """Token ids of the bare prompt."""
        first = (*self.states, *self.untrained)[0]
        return first.context[: len(first.context) - first.prefix]

    @property
    def rows(self) -> list[np.ndarray]:
        return [row for state in self.states for row in state.rows]

    @property
    def actions(self) -> list[int]:
        """Tokens that are trained on, of each row."""
        return [len(ids) for state in self.states for ids in state.trained]


def repeated(items: Sequence[Any], n: int) -> list[Any]:
    """The first n of the items over and over."""
    return list(islice(cycle(items), n))


def stock_visit(visit: SampledVisit, n: int) -> SampledVisit:
    """What OpenRLHF itself samples for the problem: n responses to the prompt, as long as those from s_0 with it."""
    first = (*visit.states, *visit.untrained)[0]
    s0 = first.context[len(first.context) - first.prefix :]
    responses = tuple(np.concatenate([s0, ids]) for ids in first.completions)
    state = SampledState(context=visit.prompt, prefix=0, completions=responses, trained=responses)
    return SampledVisit(problem=visit.problem, states=(state.with_completions(n),))


def rows_of(visits: Sequence[SampledVisit], problems: int) -> tuple[list[np.ndarray], list[int]]:
    """The rows of so many problems in the order in which they are sampled, and how many tokens of each are trained.

    Visits are repeated as often as needed; copies share no prefix.
    """
    rows: list[np.ndarray] = []
    actions: list[int] = []
    for number, visit in enumerate(repeated(visits, problems)):
        for row in visit.rows:
            row = row.copy()
            row[0] += COPY * (number // len(visits))
            rows.append(row)
        actions += visit.actions
    return rows, actions
