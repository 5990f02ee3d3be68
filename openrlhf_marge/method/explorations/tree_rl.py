"""Responses that fork where the policy was least sure, and the values of the nodes in between (TreeRL, 2506.11902).

What it leaves out: the mean over the tokens of a batch, which the paper's code subtracts, and the words after which
that code does not fork.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from openrlhf_marge.method.explorations.traits import Traits
from openrlhf_marge.method.groups import Exploration
from openrlhf_marge.method.trees import Branch, Edge, Tree
from openrlhf_marge.seeds import generator
from openrlhf_marge.types import TokenIds

if TYPE_CHECKING:
    from openrlhf_marge.method.visit import Visit


@Traits(weighs_tokens=True, reads_log_probs=True)
async def tree_rl(visit: Visit) -> Exploration:
    """``tree_chains`` responses, each with ``tree_branches`` more from its ``tree_forks`` least likely tokens on.

    ``tree_keep`` of the leaves are trained on, with all that leads to them.
    """
    config = visit.config
    branches = await visit.branches([visit.s0_ids], config.tree_chains, "s_0")
    forks = list(dict.fromkeys(fork for branch in branches for fork in _forks(visit, branch)))
    branches += await visit.branches(forks, config.tree_branches, "tree")
    tree = Tree(branches)
    return visit.forest(tree.weighed(_advantages(tree, _kept(visit, branches))))


def _forks(visit: Visit, branch: Branch) -> list[TokenIds]:
    """The prefixes before the tokens of highest -log p, the first token and what leaves no room left out."""
    completion, start = branch.completion, len(branch.prefix_ids)
    assert completion.log_probs is not None, "the sampler was asked for them"
    room = visit.problem.max_response_tokens - start
    places = sorted(range(1, min(len(completion.token_ids), room)), key=completion.log_probs.__getitem__)
    return [branch.prefix_ids + completion.token_ids[:p] for p in sorted(places[: visit.config.tree_forks])]


def _advantages(tree: Tree, kept: frozenset[int]) -> dict[Edge, float]:
    """What the value rises by over an edge, and the value after it, times the root of the n kept leaves below it.

    A node's value is the mean of the leaves below it, each of which counts its reward above the mean of the others'.
    Published are paths, one for each kept leaf, so that an edge is trained n times, each time over the root of n. Here
    it is trained once.
    """
    rewards = [branch.completion.reward for branch in tree.branches]
    same = min(rewards) == max(rewards)  # a float mean of equal rewards may be off by an ulp
    over_others = [0.0 if same else r - (math.fsum(rewards) - r) / (len(rewards) - 1) for r in rewards]

    def value(leaves: frozenset[int]) -> float:
        return math.fsum(over_others[leaf] for leaf in leaves) / len(leaves)

    advantages = {}
    for node, edges in tree.edges_from.items():
        before = value(tree.leaves[node])
        for edge in edges:
            if below := len(tree.leaves_of(edge) & kept):
                after = value(tree.leaves_of(edge))
                advantages[edge] = (after - before + after) * math.sqrt(below)
    return advantages


def _kept(visit: Visit, branches: Sequence[Branch]) -> frozenset[int]:
    """``tree_keep`` leaves drawn at random, a correct one among them where there is any."""
    rng = generator(visit.run_seed, visit.problem.id, visit.number, "tree_keep")
    drawn = rng.sample(range(len(branches)), min(len(branches), visit.config.tree_keep))
    correct = [leaf for leaf, branch in enumerate(branches) if branch.completion.is_correct]
    if correct and not set(correct) & set(drawn):
        drawn[0] = rng.choice(correct)
    return frozenset(drawn)
