"""The chain for one problem: guidance -> states -> completions -> groups (Algorithm 1, steps 1-4 and 6).

The sampler is injected: it samples and grades. Nothing here waits for another problem; visits of the same problem go
one after the other, in the order in which they were asked for.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from openrlhf_marge.method.config import MargeConfig
from openrlhf_marge.method.guidance import GuidancePool, without_end
from openrlhf_marge.method.splitters import DecodePieces, split_into_states
from openrlhf_marge.method.visit import Sampler, Visit
from openrlhf_marge.types import Completion, Guidance, Problem, State, StateGroup, TokenIds, pass_rate


@dataclass(frozen=True, slots=True, kw_only=True)
class Exploration:
    """What one visit of a problem gave."""

    problem_id: str
    groups: tuple[StateGroup, ...] = ()  # one per state, in order of the states; empty when the problem was left out
    candidates: StateGroup | None = None  # sampled from s_0 to find the first guidance, never trained on
    no_guidance: bool = False  # no suitable response was found, and none was there
    no_room: bool = False  # left out: the prompt leaves no room for a response
    guidance_kept: bool = False  # s_0 gave no suitable response, so the old guidance stays
    guidance_age: int | None = None  # visits since the guidance of this visit was sampled

    @property
    def pass_rate(self) -> float | None:
        """Of what was sampled from s_0: its group, else the candidates; None where nothing was."""
        first = self.groups[0] if self.groups else self.candidates
        return None if first is None else first.pass_rate

    @property
    def candidate_tokens(self) -> int:
        """Tokens sampled to find the first guidance."""
        return sum(len(c.token_ids) for c in self.candidates.completions) if self.candidates else 0


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
    # A lock serves its waiters in their order, so what a problem's second visit begins with depends on no arrival.
    _turns: dict[str, asyncio.Lock] = field(default_factory=lambda: defaultdict(asyncio.Lock), init=False, repr=False)

    async def explore(self, problem: Problem) -> Exploration:
        """Visit a problem; new guidance for the next visit comes from its s_0 completions."""
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
        )
        if self.config.explore == "vanilla":
            return await self._vanilla(visit)
        return await (self._fresh(visit) if self.config.guidance_source == "fresh" else self._carried(visit))

    async def _carried(self, visit: Visit) -> Exploration:
        """Guidance of the last visit, or from candidates at the first (Algorithm 1)."""
        problem_id, candidates = visit.problem.id, None
        guidances = await self._known_guidance(visit)
        if not guidances:
            candidates = await visit.candidates()
            guidances = visit.pick(candidates.completions, "candidates")
            self.pool.set_pass_rate(problem_id, candidates.pass_rate)
        if not guidances:
            return Exploration(problem_id=problem_id, candidates=candidates, no_guidance=True)
        self.pool.set(problem_id, guidances)
        states = self._states(visit.problem, guidances)
        completed = await visit.complete(states)
        kept = not self._refresh(visit, completed[0])
        return _exploration(visit, states, completed, candidates=candidates, guidance_kept=kept)

    async def _fresh(self, visit: Visit) -> Exploration:
        """The s_0 group first; it gives the guidance for the other states, the last one where it gives none."""
        first = await visit.sample(self.s0_ids, self.n_completions, "s_0")
        kept = not self._refresh(visit, first)
        guidances = await self._known_guidance(visit)
        if not guidances:
            return _exploration(visit, [State(index=0, prefix_ids=self.s0_ids)], [first], no_guidance=True)
        states = self._states(visit.problem, guidances)
        return _exploration(visit, states, await visit.complete(states, first), guidance_kept=kept)

    async def _vanilla(self, visit: Visit) -> Exploration:
        """Everything from s_0, as much as guided exploration of the same s_0 completions would have taken."""
        n = self.n_completions
        first = await visit.sample(self.s0_ids, n, "s_0")
        guidances = visit.pick(first, "s_0")
        states = split_into_states(visit.problem, guidances, self.s0_ids, self.config, self.decode_pieces)
        more = n * max(0, len(states) - 1)
        if self.config.vanilla_match == "tokens":
            # Of a whole response, a completion of a state takes the share that lies after it.
            more = n * round(sum(1 - s.position for s in states[1:]))
        rest = await visit.sample(self.s0_ids, more, "more") if more else []
        s0 = State(index=0, prefix_ids=self.s0_ids)
        return _exploration(visit, [s0], [[*first, *rest]], no_guidance=not guidances)

    async def _known_guidance(self, visit: Visit) -> tuple[Guidance, ...]:
        """What the pool holds, or the response given with the data."""
        given = visit.problem.given_guidance
        if (known := self.pool.get(visit.problem.id)) or given is None:
            return known
        ids = without_end(given, self.eos_ids, self.config.stop, self.decode_pieces)
        if len(ids) <= len(self.s0_ids):
            return ()
        is_correct = await self.sampler.is_correct(visit.problem, ids)
        return (Guidance(token_ids=ids, is_correct=is_correct, pass_rate=float(is_correct), visit=visit.number),)

    def _states(self, problem: Problem, guidances: Sequence[Guidance]) -> list[State]:
        """All states of the guidances, or s_0 alone where ``guide_when`` says that guidance does not pay."""
        states = split_into_states(problem, guidances, self.s0_ids, self.config, self.decode_pieces)
        rate = self.pool.pass_rate(problem.id)  # of this visit with fresh guidance; unknown where guidance was given
        easy = rate is not None and rate > self.config.guidance_threshold
        return states[:1] if easy and self.config.guide_when == "hard" else states

    def _refresh(self, visit: Visit, completions: Sequence[Completion]) -> bool:
        """Note the pass rate of completions of s_0 and take new guidance from them; False when they give none."""
        self.pool.set_pass_rate(visit.problem.id, pass_rate(completions))
        if self.config.guidance_rule == "fixed":
            return False
        picked = visit.pick(completions, "s_0")
        if picked:
            self.pool.set(visit.problem.id, picked)
        return bool(picked)


def _exploration(visit: Visit, states: list[State], completed: list[list[Completion]], **facts) -> Exploration:
    guidance = states[0].guidance
    age = None if guidance is None else visit.number - guidance.visit
    groups = visit.groups(states, completed)
    return Exploration(problem_id=visit.problem.id, groups=groups, guidance_age=age, **facts)
