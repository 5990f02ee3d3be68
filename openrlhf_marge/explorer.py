"""The chain for one problem: guidance -> states -> completions -> groups (Algorithm 1, steps 1-4 and 6).

The sampler is injected: it samples and grades. Nothing here waits for another problem.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from openrlhf_marge.budget import allocate
from openrlhf_marge.config import MargeConfig
from openrlhf_marge.guidance import GuidancePool, pick_guidance, without_eos
from openrlhf_marge.seeds import generator, stable_hash
from openrlhf_marge.splitters import DecodePieces, split_into_states
from openrlhf_marge.types import Completion, Guidance, Problem, State, StateGroup, TokenIds


class Sampler(Protocol):
    """The host's engines and grader."""

    async def complete(self, problem: Problem, prefix_ids: TokenIds, n: int, seed: int) -> list[Completion]:
        """n graded completions sampled from x + prefix."""

    async def is_correct(self, problem: Problem, response_ids: TokenIds) -> bool:
        """The verdict on a whole response."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exploration:
    """What one visit of a problem gave."""

    problem_id: str
    groups: tuple[StateGroup, ...] = ()  # one per state, in order of the states; empty when the problem was left out
    candidate_tokens: int = 0  # tokens sampled to find the first guidance
    no_guidance: bool = False  # no suitable response was found, and none was there
    no_room: bool = False  # left out: the prompt leaves no room for a response
    guidance_kept: bool = False  # s_0 gave no suitable response, so the old guidance stays
    guidance_age: int | None = None  # visits since the guidance of this visit was sampled


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

    async def explore(self, problem: Problem) -> Exploration:
        """Visit a problem; new guidance for the next visit comes from its s_0 completions."""
        if problem.max_response_tokens <= len(self.s0_ids):
            return Exploration(problem_id=problem.id, no_room=True)
        visit = self.pool.visit(problem.id)
        if self.config.explore == "vanilla":
            return await self._vanilla(problem, visit)
        if self.config.guidance_source == "fresh":
            return await self._fresh(problem, visit)
        return await self._carried(problem, visit)

    async def _carried(self, problem: Problem, visit: int) -> Exploration:
        """Guidance of the last visit, or from candidates at the first (Algorithm 1)."""
        guidances, candidates = await self._first_guidance(problem, visit), []
        if not guidances:
            candidates = await self._sample(problem, self.s0_ids, self.config.n_candidates, visit, "candidates")
            guidances = self._pick(problem, visit, candidates, "candidates")
        tokens = sum(len(c.token_ids) for c in candidates)
        if not guidances:
            return Exploration(problem_id=problem.id, candidate_tokens=tokens, no_guidance=True)
        self.pool.set(problem.id, guidances)
        completed = await self._complete_states(problem, visit, self._states(problem, guidances))
        kept = self.config.guidance_rule == "fixed" or not self._refresh(problem, visit, completed[0][1])
        return self._exploration(problem, visit, completed, candidate_tokens=tokens, guidance_kept=kept)

    async def _fresh(self, problem: Problem, visit: int) -> Exploration:
        """The s_0 group first; it gives the guidance for the other states, the last one where it gives none."""
        first = await self._sample(problem, self.s0_ids, self.n_completions, visit, "s_0")
        kept = not self._refresh(problem, visit, first)
        guidances = self.pool.get(problem.id) or await self._first_guidance(problem, visit)
        if not guidances:
            alone = State(index=0, prefix_ids=self.s0_ids)
            return self._exploration(problem, visit, [(alone, first)], no_guidance=True)
        completed = await self._complete_states(problem, visit, self._states(problem, guidances), first)
        return self._exploration(problem, visit, completed, guidance_kept=kept)

    async def _vanilla(self, problem: Problem, visit: int) -> Exploration:
        """Everything from s_0, as much as guided exploration of the same s_0 completions would have taken."""
        n = self.n_completions
        first = await self._sample(problem, self.s0_ids, n, visit, "s_0")
        guidances = self._pick(problem, visit, first, "s_0")
        states = split_into_states(problem, guidances, self.s0_ids, self.config, self.decode_pieces)
        more = n * max(0, len(states) - 1)
        if self.config.vanilla_match == "tokens":
            # A response takes 1 token of itself from s_0, and the share after the state from any other.
            more = n * round(sum(1 - s.position for s in states[1:]))
        rest = await self._sample(problem, self.s0_ids, more, visit, "more") if more else []
        state = State(index=0, prefix_ids=self.s0_ids)
        return self._exploration(problem, visit, [(state, [*first, *rest])], no_guidance=not guidances)

    async def _first_guidance(self, problem: Problem, visit: int) -> tuple[Guidance, ...]:
        """What the pool holds, or the response given with the data."""
        if (known := self.pool.get(problem.id)) or problem.given_guidance is None:
            return known
        ids = without_eos(problem.given_guidance, self.eos_ids)
        if len(ids) <= len(self.s0_ids):
            return ()
        is_correct = await self.sampler.is_correct(problem, ids)
        return (Guidance(token_ids=ids, is_correct=is_correct, pass_rate=float(is_correct), visit=visit),)

    def _states(self, problem: Problem, guidances: Sequence[Guidance]) -> list[State]:
        """All states of the guidances, or s_0 alone where ``guide_when`` says that guidance does not pay."""
        states = split_into_states(problem, guidances, self.s0_ids, self.config, self.decode_pieces)
        easy = guidances[0].pass_rate > self.config.guidance_threshold
        return states[:1] if easy and self.config.guide_when == "hard" else states

    async def _complete_states(
        self, problem: Problem, visit: int, states: list[State], first: list[Completion] | None = None
    ) -> list[tuple[State, list[Completion]]]:
        """All completions of all states; ``first`` are those that s_0 has already."""
        adaptive = self.config.state_budget == "adaptive" and len(states) > 1
        n_first = self.n_completions // 2 if adaptive else self.n_completions
        completed = await self._round(problem, visit, states, [n_first] * len(states), "first", first)
        if not adaptive:
            return list(zip(states, completed, strict=True))
        verdicts = [[c.is_correct for c in completions] for completions in completed]
        more = allocate(self.n_completions, n_first, verdicts, [s.parent for s in states])
        added = await self._round(problem, visit, states, more, "more")
        return [(state, [*a, *b]) for state, a, b in zip(states, completed, added, strict=True)]

    async def _round(self, problem, visit, states, counts, purpose, first=None) -> list[list[Completion]]:
        async def complete(state: State, n: int) -> list[Completion]:
            if first is not None and state.parent is None:
                return first
            return await self._sample(problem, state.prefix_ids, n, visit, purpose) if n else []

        return list(await asyncio.gather(*map(complete, states, counts)))

    async def _sample(self, problem: Problem, prefix_ids: TokenIds, n: int, visit: int, purpose: str):
        seed = stable_hash(self.seed, problem.id, visit, purpose, prefix_ids) % 2**31
        completions = await self.sampler.complete(problem, prefix_ids, n, seed)
        if len(completions) != n:
            raise RuntimeError(
                f"problem {problem.id}, prefix of {len(prefix_ids)} tokens: got {len(completions)} completions, "
                f"expected {n}"
            )
        return completions

    def _pick(self, problem: Problem, visit: int, completions: Sequence[Completion], purpose: str):
        rng = generator(self.seed, problem.id, visit, purpose)
        return pick_guidance(completions, self.s0_ids, self.eos_ids, self.config, rng, visit)

    def _refresh(self, problem: Problem, visit: int, completions: Sequence[Completion]) -> bool:
        """Take new guidance from completions of s_0; False when they give none."""
        picked = self._pick(problem, visit, completions, "s_0")
        if picked:
            self.pool.set(problem.id, picked)
        return bool(picked)

    def _exploration(self, problem: Problem, visit: int, completed, **facts) -> Exploration:
        values = [sum(c.reward for c in completions) / len(completions) for _, completions in completed]
        groups = tuple(
            StateGroup(
                id=stable_hash(problem.id, visit, state.prefix_ids) >> 1,  # 63 bits, for tensors
                problem=problem,
                state=state,
                n_states=len(completed),
                completions=tuple(completions),
                value_gain=0.0 if state.parent is None else value - values[state.parent],
            )
            for (state, completions), value in zip(completed, values, strict=True)
        )
        guidance = groups[0].state.guidance
        age = None if guidance is None else visit - guidance.visit
        return Exploration(problem_id=problem.id, groups=groups, guidance_age=age, **facts)
