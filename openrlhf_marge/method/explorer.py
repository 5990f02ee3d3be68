"""The chain for one problem: guidance -> states -> completions -> groups (Algorithm 1, steps 1-4 and 6).

What a visit does is a strategy in ``explorations/``. The sampler is injected: it samples and grades. Nothing here
waits for another problem; visits of the same problem go one after the other, in the order in which they were asked
for.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import dataclass, field

from openrlhf_marge.method.config import MargeConfig
from openrlhf_marge.method.explorations import EXPLORATIONS
from openrlhf_marge.method.groups import Exploration
from openrlhf_marge.method.guidance import GuidancePool
from openrlhf_marge.method.sampler import Sampler
from openrlhf_marge.method.self_evaluation import Question
from openrlhf_marge.method.splitters import DecodePieces
from openrlhf_marge.method.visit import Visit
from openrlhf_marge.types import Problem, TokenIds


@dataclass(frozen=True, kw_only=True)
class Explorer:
    """Explores one problem at a time; the pool is the only thing it changes."""

    config: MargeConfig
    pool: GuidancePool
    seed: int
    s0_ids: TokenIds  # () or the ids of the CoT prefix
    eos_ids: frozenset[int]
    n_completions: int  # per state
    sampler: Sampler
    decode_pieces: DecodePieces
    question: Question | None = None  # where the model judges solutions
    # A lock serves its waiters in their order, so what a problem's second visit begins with depends on no arrival.
    _turns: dict[str, asyncio.Lock] = field(default_factory=lambda: defaultdict(asyncio.Lock), init=False, repr=False)

    async def explore(self, problem: Problem) -> Exploration:
        """Visit a problem as ``--marge.explore`` says; one whose prompt leaves no room for a response is left out."""
        async with self._turns[problem.id]:
            return await self._visit(problem)

    async def _visit(self, problem: Problem) -> Exploration:
        if problem.max_response_tokens <= len(self.s0_ids):
            return Exploration(problem_id=problem.id, no_room=True)
        visit = Visit(
            problem=problem,
            number=self.pool.visit(problem.id),
            config=self.config,
            run_seed=self.seed,
            s0_ids=self.s0_ids,
            eos_ids=self.eos_ids,
            n_completions=self.n_completions,
            sampler=self.sampler,
            decode_pieces=self.decode_pieces,
            pool=self.pool,
            question=self.question,
        )
        exploration = await EXPLORATIONS.load(self.config.explore)(visit)
        if wrong := _wrong(exploration, visit):
            raise ValueError(f"--marge.explore {self.config.explore}, problem {problem.id}: {wrong}")
        return exploration


def _wrong(exploration: Exploration, visit: Visit) -> str | None:
    """What a strategy must mend, as wrong numbers would come of it."""
    if exploration.problem_id != visit.problem.id:
        return f"what it returned is of problem {exploration.problem_id}"
    states = [g.state for g in exploration.groups]
    if len({s.prefix_ids for s in states}) < len(states):
        return "two groups have the same state; put their completions into one"
    # A dump's readers see a visit begin at the index 0, and the pass rate is that of the first group.
    if states and (states[0].prefix_ids != visit.s0_ids or [s.index for s in states].count(0) != 1):
        return "the first group, and no other, must be of s_0 and have the index 0; begin with visit.s0"
    return None
