"""The chain for one problem: guidance -> states -> completions -> groups (Algorithm 1, steps 1-4 and 6).

``complete`` is injected: it samples and grades. Nothing here waits for another problem.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from openrlhf_marge.config import MargeConfig
from openrlhf_marge.guidance import GuidancePool, pick_guidance
from openrlhf_marge.splitters import DecodePieces, split_into_states
from openrlhf_marge.types import Completion, Problem, State, StateGroup, TokenIds

# (problem, prefix_ids, n) -> n graded completions sampled from x + prefix
Complete = Callable[[Problem, TokenIds, int], Awaitable[list[Completion]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Exploration:
    """What one visit of a problem gave."""

    groups: tuple[StateGroup, ...] = ()  # one per state, in order of the states; empty when the problem was left out
    candidate_tokens: int = 0  # tokens sampled to find the first guidance
    no_guidance: bool = False  # left out: no suitable candidate
    no_room: bool = False  # left out: the prompt leaves no room for a response
    guidance_kept: bool = False  # s_0 gave no suitable response, so the old guidance stays


@dataclass(frozen=True, kw_only=True)
class Explorer:
    """Explores one problem at a time; the pool is the only thing it changes."""

    config: MargeConfig
    pool: GuidancePool
    s0_ids: TokenIds  # () or the ids of the CoT prefix
    eos_ids: frozenset[int]
    n_completions: int  # per state
    complete: Complete
    decode_pieces: DecodePieces
    group_ids: itertools.count

    async def explore(self, problem: Problem) -> Exploration:
        """Visit a problem: find guidance if it has none, complete all states, take new guidance from s_0."""
        if problem.max_response_tokens <= len(self.s0_ids):
            return Exploration(no_room=True)
        rng = self.pool.visit(problem.id)
        guidance, candidate_tokens = self.pool.get(problem.id), 0
        if guidance is None:
            candidates = await self.complete(problem, self.s0_ids, self.config.n_candidates)
            candidate_tokens = sum(len(c.token_ids) for c in candidates)
            guidance = self._pick(candidates, rng)
            if guidance is None:
                return Exploration(candidate_tokens=candidate_tokens, no_guidance=True)
            self.pool.set(problem.id, guidance)
        states = split_into_states(problem, guidance, self.s0_ids, self.config, self.decode_pieces)
        groups = await asyncio.gather(
            *(self._complete_state(problem, state, len(states), guidance.is_correct) for state in states)
        )
        refreshed = self._pick(groups[0].completions, rng)
        if refreshed is not None:
            self.pool.set(problem.id, refreshed)
        return Exploration(groups=tuple(groups), candidate_tokens=candidate_tokens, guidance_kept=refreshed is None)

    def _pick(self, completions, rng):
        return pick_guidance(completions, self.s0_ids, self.eos_ids, self.config.guidance_threshold, rng)

    async def _complete_state(self, problem: Problem, state: State, n_states: int, is_correct: bool) -> StateGroup:
        group_id = next(self.group_ids)
        completions = await self.complete(problem, state.prefix_ids, self.n_completions)
        if len(completions) != self.n_completions:
            raise RuntimeError(
                f"state {state.index} of problem {problem.id}: got {len(completions)} completions, "
                f"expected {self.n_completions}"
            )
        return StateGroup(
            id=group_id,
            problem=problem,
            state=state,
            n_states=n_states,
            guidance_is_correct=is_correct,
            completions=tuple(completions),
        )
