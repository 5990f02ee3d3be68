"""Steps by tree search, for preference pairs of steps (MCTS-DPO, arXiv 2405.00451).

The value of a state is that of its completions, graded: a Monte-Carlo estimate in place of the paper's
self-evaluation, which ``--marge.mcts_value`` brings back. Every completion is sampled to its end; the first steps of
some become the children of its state.

Left out of the published code: the gold solution, which it shows the model in the self-evaluation and injects as a
step; the score of similar texts (BERTScore) among the duplicates; the temperature by which steps are taken at random,
0 in its script; the division of values beyond the third step, which its depth never reaches; a second count of each
visit to the node where a walk starts.
"""

from __future__ import annotations

import asyncio
import math
from dataclasses import replace
from typing import TYPE_CHECKING

from openrlhf_marge.method.explorations.traits import Traits
from openrlhf_marge.method.groups import Exploration, StateGroup
from openrlhf_marge.method.search import Node, Step, carry_up, most_promising, steps_of, taken
from openrlhf_marge.method.splitters import SPLITTERS
from openrlhf_marge.types import Completion, State, TokenIds

if TYPE_CHECKING:
    from openrlhf_marge.method.visit import Visit

FIRST_WALKS = 4  # times as many from s_0
OUTCOME = {True: 1.0, False: -1.0}  # added to the value of a whole response


@Traits(reads_log_probs=True, for_pairs=True, asks_the_model=lambda config: config.mcts_value == "self_evaluation")
async def mcts_dpo(visit: Visit) -> Exploration:
    """Search from s_0, take a step, search from there, up to the end of a response; one group per state of the tree.

    What was found of a step is among ``extra_logs`` of the completion that begins with it (``search.Step``).
    """
    tree = _Tree(visit)
    top = node = await tree.begin()
    found: dict[TokenIds, dict[int, Step]] = {}  # as it was when a step was taken; later walks go on below it
    while not node.is_terminal:
        for _ in range(visit.config.mcts_simulations * (1 if node.depth else FIRST_WALKS)):
            await tree.walk(node)
        if not node.children:
            break
        chosen = taken(node)
        found[node.prefix_ids] = steps_of(node, chosen)
        node = chosen
    return tree.exploration(top, found)


class _Tree:
    """The states of a visit and their completions; it grows as it is walked."""

    def __init__(self, visit: Visit) -> None:
        self._visit, self._config = visit, visit.config
        self._completed: dict[TokenIds, list[Completion]] = {}
        self._answers: dict[TokenIds, Completion | None] = {}

    async def begin(self) -> Node:
        """The node of s_0."""
        return Node(prefix_ids=self._visit.s0_ids, value=await self._value(self._visit.s0_ids))

    async def walk(self, start: Node) -> None:
        """Go down from a node, child after child, as far as a walk is long; nodes are expanded on the way."""
        path = [start]
        while not path[-1].is_terminal and path[-1].depth - start.depth < self._config.mcts_depth:
            if path[-1].children is None:
                path[-1].children = await self._expanded(path[-1])
            if not path[-1].children:
                break
            path.append(most_promising(path[-1], self._config.mcts_exploration))
        carry_up(path)

    async def _expanded(self, node: Node) -> tuple[Node, ...]:
        """Its children: the different first steps of its first completions, or at the last depth the rest of one."""
        is_last = node.depth >= self._config.mcts_depth
        sampled = self._completed[node.prefix_ids][: 1 if is_last else self._config.mcts_actions]
        steps: dict[str, tuple[int, TokenIds]] = {}
        for place, completion in enumerate(sampled):
            ids = completion.token_ids[: None if is_last else self._step(node, completion)]
            # Another way to spell what the tree has already is no child, nor is a state that stands elsewhere in it.
            if node.prefix_ids + ids not in self._completed:
                steps.setdefault("".join(self._visit.decode_pieces(ids)), (place, ids))
        kept = list(steps.values())[: self._config.mcts_breadth]
        return tuple(await asyncio.gather(*(self._child(node, place, ids) for place, ids in kept)))

    def _step(self, node: Node, completion: Completion) -> int:
        """Tokens of a completion up to the first place that it is cut at; all of them where nothing is left then."""
        ids, start = self._visit.without_end(completion), len(node.prefix_ids)
        split = SPLITTERS.load(self._config.split)
        cuts = split(node.prefix_ids + ids, start, self._config, self._visit.decode_pieces) if ids else []
        end = min([cut - start for cut in cuts if cut > start] + [self._config.mcts_step_tokens])
        return end if end < len(ids) else len(completion.token_ids)

    async def _child(self, node: Node, place: int, ids: TokenIds) -> Node:
        completion, prefix = self._completed[node.prefix_ids][place], node.prefix_ids + ids
        assert completion.log_probs is not None, "the sampler was asked for them"
        is_terminal = len(ids) == len(completion.token_ids)
        if is_terminal:
            solution = node.prefix_ids + self._visit.without_end(completion)
            value = OUTCOME[completion.is_correct] + await self._judged(solution, completion.reward, node.value)
        else:
            value = await self._value(prefix, node.value)
        likelihood = math.fsum(completion.log_probs[: len(ids)]) / max(1, len(ids)) ** self._config.mcts_length_penalty
        return Node(
            prefix_ids=prefix, value=value, depth=node.depth + 1, gain=value - node.value, prior=math.exp(likelihood),
            is_terminal=is_terminal, completion=place, step=len(ids),
        )  # fmt: skip

    async def _value(self, prefix_ids: TokenIds, before: float = 0.0) -> float:
        """The value of a state, after one of the value ``before``; its completions are sampled here."""
        n = self._config.mcts_actions if self._config.asks_the_model else self._visit.n_completions
        completions = await self._visit.sample(prefix_ids, n, "mcts")
        self._completed[prefix_ids] = completions
        return await self._judged(prefix_ids, math.fsum(c.reward for c in completions) / n, before)

    async def _judged(self, solution: TokenIds, graded: float, before: float) -> float:
        """What the grader says of a solution, or the model where it is asked; ``before`` where it cannot be."""
        if not self._config.asks_the_model:
            return graded
        if solution not in self._answers:  # as a state and as the end of a response
            self._answers[solution] = await self._visit.judged(solution)
        answer = self._answers[solution]
        return before if answer is None else answer.reward

    def exploration(self, top: Node, found: dict[TokenIds, dict[int, Step]]) -> Exploration:
        """One group per state, parents before their children, whatever the order in which they were sampled."""
        nodes, parents = [top], dict[TokenIds, int]()
        for place, node in enumerate(nodes):
            later = [child for child in node.children or () if not child.is_terminal]
            parents |= {child.prefix_ids: place for child in later}
            nodes += later
        states = [
            State(index=i, prefix_ids=node.prefix_ids, parent=parents.get(node.prefix_ids), segment=node.step)
            for i, node in enumerate(nodes)
        ]
        told = [self._told(node, found.get(node.prefix_ids, steps_of(node))) for node in nodes]
        return self._visit.exploration(states, told, probes=self._probes())

    def _probes(self) -> tuple[StateGroup, ...]:
        """The model's answers, the shortest solution first."""
        answers = sorted((len(ids), ids, [c]) for ids, c in self._answers.items() if c is not None)
        states = [State(index=i, prefix_ids=ids) for i, (_, ids, _) in enumerate(answers)]
        return self._visit.probes(states, [answer for _, _, answer in answers])

    def _told(self, node: Node, steps: dict[int, Step]) -> list[Completion]:
        """The completions of a node, with what was found of the steps that they begin with."""
        return [
            replace(c, extra_logs=c.extra_logs + steps[place].as_logs()) if place in steps else c
            for place, c in enumerate(self._completed[node.prefix_ids])
        ]
