"""One visit of one problem: sampling, picking guidance and completing states, each with seeds of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from openrlhf_marge.method.allocation import allocate
from openrlhf_marge.method.config import MargeConfig
from openrlhf_marge.method.guidance import pick_guidance
from openrlhf_marge.method.splitters import DecodePieces
from openrlhf_marge.seeds import generator, stable_hash
from openrlhf_marge.types import Completion, Guidance, Problem, State, StateGroup, TokenIds


class Sampler(Protocol):
    """The host's engines and grader."""

    async def complete(self, problem: Problem, prefix_ids: TokenIds, n: int, seed: int) -> list[Completion]:
        """n graded completions sampled from x + prefix."""

    async def is_correct(self, problem: Problem, response_ids: TokenIds) -> bool:
        """The verdict on a whole response."""


@dataclass(frozen=True, kw_only=True)
class Visit:
    """Changes nothing: what is to be remembered of a visit is the explorer's business."""

    problem: Problem
    number: int  # 0 at the first visit of the problem
    config: MargeConfig
    run_seed: int
    s0_ids: TokenIds  # () or the ids of the CoT prefix
    eos_ids: frozenset[int]
    n_completions: int  # per state
    sampler: Sampler
    decode_pieces: DecodePieces

    async def sample(self, prefix_ids: TokenIds, n: int, purpose: str) -> list[Completion]:
        """n completions of a prefix; ``purpose`` tells requests of the same prefix apart."""
        seed = stable_hash(self.run_seed, self.problem.id, self.number, purpose, prefix_ids) % 2**31
        completions = await self.sampler.complete(self.problem, prefix_ids, n, seed)
        if len(completions) != n:
            raise RuntimeError(
                f"problem {self.problem.id}, prefix of {len(prefix_ids)} tokens: got {len(completions)} completions, "
                f"expected {n}"
            )
        return completions

    async def candidates(self) -> StateGroup:
        """Responses from s_0 among which a first guidance is looked for; they are not trained on."""
        return StateGroup(
            id=self._group_id("candidates"),
            problem=self.problem,
            state=State(index=0, prefix_ids=self.s0_ids),
            n_states=1,
            completions=tuple(await self.sample(self.s0_ids, self.config.n_candidates, "candidates")),
        )

    def pick(self, completions: Sequence[Completion], purpose: str) -> tuple[Guidance, ...]:
        """Guidance among completions of s_0."""
        rng = generator(self.run_seed, self.problem.id, self.number, purpose)
        return pick_guidance(
            completions, self.s0_ids, self.eos_ids, self.config, rng, self.number, self.decode_pieces
        )  # fmt: skip

    async def complete(self, states: list[State], first: list[Completion] | None = None) -> list[list[Completion]]:
        """All completions of all states, in their order; ``first`` are those that s_0 has already."""
        adaptive = self.config.state_budget == "adaptive" and len(states) > 1
        n_first = self.n_completions // 2 if adaptive else self.n_completions
        completed = await self._round(states, [n_first] * len(states), "first", first)
        if not adaptive:
            return completed
        verdicts = [[c.is_correct for c in completions] for completions in completed]
        more = allocate(self.n_completions, n_first, verdicts, [s.parent for s in states])
        added = await self._round(states, more, "more")
        return [[*a, *b] for a, b in zip(completed, added, strict=True)]

    async def _round(
        self, states: list[State], counts: list[int], purpose: str, first: list[Completion] | None = None
    ) -> list[list[Completion]]:
        async def complete(state: State, n: int) -> list[Completion]:
            if first is not None and state.parent is None:
                return first
            return await self.sample(state.prefix_ids, n, purpose) if n else []

        return list(await asyncio.gather(*map(complete, states, counts)))

    def groups(self, states: list[State], completed: list[list[Completion]]) -> tuple[StateGroup, ...]:
        """One group per state, each with what its value is above that of the state before it."""
        values = [sum(c.reward for c in completions) / len(completions) for completions in completed]
        return tuple(
            StateGroup(
                id=self._group_id(state.prefix_ids),
                problem=self.problem,
                state=state,
                n_states=len(states),
                completions=tuple(completions),
                value_gain=0.0 if state.parent is None else value - values[state.parent],
            )
            for state, completions, value in zip(states, completed, values, strict=True)
        )

    def _group_id(self, what: object) -> int:
        return stable_hash(self.problem.id, self.number, what) >> 1  # 63 bits, for tensors
