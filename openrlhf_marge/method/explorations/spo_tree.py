"""A tree that branches every M tokens; an edge is worth the value after it minus the one before it (SPO-tree).

Segment Policy Optimization, arXiv 2505.23564. Its buffer of earlier iterations is left out: edges are of this visit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from openrlhf_marge.method.explorations.traits import Traits
from openrlhf_marge.method.groups import Exploration
from openrlhf_marge.method.trees import Branch, Edge, Tree
from openrlhf_marge.seeds import generator
from openrlhf_marge.types import Completion, TokenIds

if TYPE_CHECKING:
    from openrlhf_marge.method.visit import Visit


@Traits(weighs_tokens=True, reads_log_probs=True)
async def spo_tree(visit: Visit) -> Exploration:
    """``spo_branches`` responses at the root and at each node after ``spo_segment`` tokens more.

    A response is its own first continuation at every node, so a node of 6 children needs 5 more. Trained are up to
    ``spo_edges`` of the edges whose advantage is not zero, and of them the tokens that the policy was not sure of.
    """
    first, *later = visit.config.spo_branches
    branches = await visit.branches([visit.s0_ids], first, "s_0")
    for depth, n in enumerate(later, start=1):
        branches += await visit.branches(_nodes(visit, branches, depth), n - 1, "spo")
    tree, sure = Tree(branches), math.log(visit.config.spo_sure)

    def is_unsure(completion: Completion, place: int) -> bool:
        assert completion.log_probs is not None, "the sampler was asked for them"
        return completion.log_probs[place] < sure

    return visit.forest(tree.weighed(_drawn(visit, _advantages(tree, visit.config.spo_norm == "grpo")), is_unsure))


def _nodes(visit: Visit, branches: Sequence[Branch], depth: int) -> list[TokenIds]:
    """The different prefixes of ``depth`` segments at which a response goes on, with room for more."""
    end = len(visit.s0_ids) + depth * visit.config.spo_segment
    if end >= visit.problem.max_response_tokens:
        return []
    paths = (branch.prefix_ids + branch.completion.token_ids for branch in branches)
    return list(dict.fromkeys(path[:end] for path in paths if len(path) > end))


def _advantages(tree: Tree, normed: bool) -> dict[Edge, float]:
    """V(child) - V(parent), in units of the siblings' deviation where ``normed``; V is the mean of the children's."""
    values: dict[TokenIds, float] = {}
    advantages: dict[Edge, float] = {}
    for node, edges in tree.edges_from.items():
        children = [tree.branches[e.branch].completion.reward if e.child is None else values[e.child] for e in edges]
        values[node] = math.fsum(children) / len(children)
        spread = math.sqrt(math.fsum((v - values[node]) ** 2 for v in children) / len(children))
        scale = 1 / spread if normed and spread else 1.0
        same = min(children) == max(children)  # a float mean of equal values may be off by an ulp
        advantages |= {e: 0.0 if same else (v - values[node]) * scale for e, v in zip(edges, children, strict=True)}
    return advantages


def _drawn(visit: Visit, advantages: dict[Edge, float]) -> dict[Edge, float]:
    """Up to ``spo_edges`` of the edges whose advantage is not zero, drawn at random."""
    weighty = [edge for edge, advantage in advantages.items() if advantage]
    rng = generator(visit.run_seed, visit.problem.id, visit.number, "spo_edges")
    return {edge: advantages[edge] for edge in rng.sample(weighty, min(len(weighty), visit.config.spo_edges))}
