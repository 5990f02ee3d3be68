"""A search tree over steps: which one is looked at next, what its outcomes say of those before it, which one is taken.

The algorithm is that of MCTS-DPO (arXiv 2405.00451, and its code). Nothing here samples.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from openrlhf_marge.types import TokenIds


@dataclass(slots=True, kw_only=True, eq=False)
class Node:
    """A prefix of a response, s_0 and whole steps; what a search changes has its letter in the paper beside it."""

    prefix_ids: TokenIds
    value: float  # what responses that go on from here are expected to reach
    depth: int = 0  # steps since s_0
    gain: float = 0.0  # r: its value minus its parent's
    prior: float = 1.0  # p: the likelihood of its step, normalised by length
    is_terminal: bool = False  # nothing goes on from here
    completion: int = 0  # place of the one that its step is of, among those of its parent
    step: int = 0  # tokens of the step
    children: tuple[Node, ...] | None = None  # None before the node is expanded
    visits: int = 0  # N
    future: float = 0.0  # V: the mean Q of its children by their visits
    q: float = field(init=False)  # Q: gain + V

    def __post_init__(self) -> None:
        self.q = self.gain


def most_promising(node: Node, weight: float) -> Node:
    """The child of highest Q + ``weight`` p sqrt(N of the node) / (1 + N): PUCT; the first of equal ones."""
    assert node.children, "it was expanded, and has children"
    scale = weight * math.sqrt(node.visits)
    return max(node.children, key=lambda child: child.q + scale * child.prior / (1 + child.visits))


def carry_up(path: Sequence[Node]) -> None:
    """Count a visit of every node of the path, and update V and Q of those before the last, from there on upwards.

    A child that was never visited weighs as much as one that was visited once.
    """
    for node in reversed(path):
        node.visits += 1
        if node is not path[-1] and node.children:
            weights = [max(1, child.visits) for child in node.children]
            total = math.fsum(w * child.q for w, child in zip(weights, node.children, strict=True))
            node.future = total / sum(weights)
        node.q = node.gain + node.future


def taken(node: Node) -> Node:
    """The child that the path goes on with: most visits, times one more than the spread of its own children's visits.

    Of equal ones that of higher Q, then of higher V, then the first.
    """
    assert node.children, "it was expanded, and has children"
    return max(node.children, key=lambda child: (child.visits * (_spread(child) + 1), child.q, child.future))


def _spread(node: Node) -> int:
    visits = [child.visits for child in node.children or ()]
    return max(visits) - min(visits) if visits else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What a search found of one step, when it took one of its siblings, or else at its end.

    It is kept among ``Completion.extra_logs`` of the completion whose first tokens are the step, so in a dump, too.
    """

    tokens: int
    q: float
    choice: float  # 1 / n of the n siblings with the most visits, 0 of the others
    gain: float
    value: float
    visits: int
    is_taken: bool = False  # whether it is part of the path

    @property
    def order(self) -> tuple[float, ...]:
        """The better of two steps has the higher one."""
        return self.q, self.choice, self.gain, self.value, self.visits

    def as_logs(self) -> tuple[tuple[str, float], ...]:
        """Its numbers by name."""
        return tuple((f"{LOG_PREFIX}{f.name}", float(getattr(self, f.name))) for f in fields(self))


LOG_PREFIX = "mcts_"  # of the names of a step's numbers


def step_of(logs: Mapping[str, float]) -> Step | None:
    """The step that these numbers tell of; None where they tell of none."""
    named: dict[str, Any] = {f.name: logs.get(f"{LOG_PREFIX}{f.name}") for f in fields(Step)}
    if named["tokens"] is None:
        return None
    whole = {name: int(named[name]) for name in ("tokens", "visits")}
    return Step(**named | whole | {"is_taken": bool(named["is_taken"])})


def steps_of(node: Node, chosen: Node | None = None) -> dict[int, Step]:
    """Place of a completion -> the step that it begins with, of all children of a node."""
    children = node.children or ()
    most = max((child.visits for child in children), default=0)
    n_most = sum(child.visits == most for child in children)
    return {
        child.completion: Step(
            tokens=child.step, q=child.q, choice=1 / n_most if child.visits == most else 0.0, gain=child.gain,
            value=child.value, visits=child.visits, is_taken=child is chosen,
        )
        for child in children
    }  # fmt: skip
