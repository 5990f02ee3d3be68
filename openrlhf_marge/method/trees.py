"""Completions that branch off each other: a tree whose nodes are prefixes, and the advantages of its edges.

A tree is sampled as whole completions, some from s_0, others from prefixes of those (forks). So every token was
sampled in one completion only, and every completion is graded with its prefix. A fork cuts each completion that passes
through it into edges; the last edge of a completion ends in its leaf.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from openrlhf_marge.types import Completion, TokenIds


@dataclass(frozen=True, slots=True)
class Branch:
    """A completion and the prefix (s_0 included) that it was sampled from."""

    prefix_ids: TokenIds
    completion: Completion


@dataclass(frozen=True, slots=True)
class Edge:
    """The tokens of a branch from ``start`` to before ``end`` of its completion, between two nodes of the tree."""

    branch: int
    start: int
    end: int
    parent: TokenIds
    child: TokenIds | None  # None where the edge ends in the branch's leaf


@dataclass(frozen=True)
class Tree:
    """All branches of a visit; where one was sampled from, and nowhere else, the others are cut."""

    branches: Sequence[Branch]

    @cached_property
    def edges(self) -> tuple[Edge, ...]:
        """Of each branch in its order, branch after branch."""
        forks = {branch.prefix_ids for branch in self.branches}
        lengths = sorted({len(fork) for fork in forks})
        found: list[Edge] = []
        for number, branch in enumerate(self.branches):
            before, parent, start = len(branch.prefix_ids), branch.prefix_ids, 0
            path = branch.prefix_ids + branch.completion.token_ids
            for length in lengths:
                if before < length < len(path) and path[:length] in forks:
                    found.append(Edge(number, start, length - before, parent, path[:length]))
                    parent, start = path[:length], length - before
            found.append(Edge(number, start, len(path) - before, parent, None))
        return tuple(found)

    @cached_property
    def edges_from(self) -> dict[TokenIds, list[Edge]]:
        """The edges that go on from each node, the longest prefix first: children stand before their parents."""
        found: dict[TokenIds, list[Edge]] = defaultdict(list)
        for edge in self.edges:
            found[edge.parent].append(edge)
        return dict(sorted(found.items(), key=lambda item: -len(item[0])))

    @cached_property
    def leaves(self) -> dict[TokenIds, frozenset[int]]:
        """The branches whose leaves are below each node."""
        found: dict[TokenIds, frozenset[int]] = {}
        for node, edges in self.edges_from.items():
            found[node] = frozenset().union(*({e.branch} if e.child is None else found[e.child] for e in edges))
        return found

    def leaves_of(self, edge: Edge) -> frozenset[int]:
        """The branches whose leaves are below an edge."""
        return frozenset({edge.branch}) if edge.child is None else self.leaves[edge.child]

    def weighed(
        self, advantages: Mapping[Edge, float], trains: Callable[[Completion, int], bool] = lambda *_: True
    ) -> list[Branch]:
        """The branches, each token with the advantage of its edge.

        Not trained on are edges without one, and the tokens for which ``trains(completion, place)`` is false.
        """
        of_tokens: list[list[float | None]] = [[] for _ in self.branches]
        for edge in self.edges:
            completion, advantage = self.branches[edge.branch].completion, advantages.get(edge)
            of_tokens[edge.branch] += [
                advantage if trains(completion, place) else None for place in range(edge.start, edge.end)
            ]
        return [
            replace(branch, completion=replace(branch.completion, advantages=tuple(of_one)))
            for branch, of_one in zip(self.branches, of_tokens, strict=True)
        ]
