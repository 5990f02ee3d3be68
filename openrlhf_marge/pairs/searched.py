"""A tree search as a dump has it: its path, and the best against the worst step at each depth (2405.00451)."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from openrlhf_marge.method.groups import StateGroup
from openrlhf_marge.method.search import Step, step_of
from openrlhf_marge.pairs.base import VisitGroups
from openrlhf_marge.types import Completion, TokenIds

MOST_PAIRS = 8  # of a visit (max_n_sample of the authors' trainer)


class Child(NamedTuple):
    """A step, and the completion that begins with it."""

    step: Step
    completion: Completion

    @property
    def is_end(self) -> bool:
        """Whether the step goes to the end of the response. A stop text at its end may have become a shorter EOS."""
        return self.step.tokens >= len(self.completion.token_ids)

    @property
    def ids(self) -> TokenIds:
        return self.completion.token_ids[: self.step.tokens]


class Searched:
    """The tree of a visit, from what the dump has of its steps."""

    def __init__(self, visit: VisitGroups) -> None:
        self.top = visit[0]
        self._groups = {group.state.prefix_ids: group for group in visit}

    def children(self, group: StateGroup) -> list[Child]:
        """The steps from a state, the worst first; of equal ones in the order in which they were sampled."""
        steps = ((step_of(dict(c.extra_logs)), c) for c in group.completions)
        return sorted((Child(s, c) for s, c in steps if s is not None), key=lambda child: child.step.order)

    def after(self, group: StateGroup, child: Child) -> StateGroup:
        """The state after a step that is not the end; ValueError where the dump lacks it."""
        try:
            return self._groups[group.state.prefix_ids + child.ids]
        except KeyError:
            problem = group.problem.id
            raise ValueError(
                f"the visit of problem {problem} lacks a state of its tree; copy the dump again"
            ) from None

    def path(self) -> Iterator[tuple[StateGroup, list[Child], Child]]:
        """The states along the path with their children, and the one of them that was taken."""
        group: StateGroup | None = self.top
        while group is not None:
            children = self.children(group)
            chosen = next((child for child in children if child.step.is_taken), None)
            if chosen is None:
                return
            yield group, children, chosen
            group = None if chosen.is_end else self.after(group, chosen)


class Contrast(NamedTuple):
    """Two steps from one state."""

    group: StateGroup
    better: Child
    worse: Child


def contrasts(searched: Searched, left_out: Counter[str]) -> Iterator[Contrast]:
    """The best against the worst step of every state along a path that ends right; up to ``MOST_PAIRS``."""
    path = list(searched.path())
    if not path:
        left_out["no_search"] += 1
    elif not (path[-1][2].is_end and path[-1][2].completion.is_correct):
        left_out["wrong_path"] += 1
    else:
        branching = [(group, children) for group, children, _ in path if len(children) > 1]
        for group, (worse, *_, better) in branching[:MOST_PAIRS]:
            # Q of published searches is hardly ever equal; graded completions often are, and prefer neither step.
            if math.isclose(better.step.q, worse.step.q, abs_tol=1e-9):
                left_out["same_q"] += 1
            else:
                yield Contrast(group, better, worse)
