"""One visit of one problem, as a strategy in ``explorations/`` gets it: what it samples, picks and remembers with.

Groups of its completions are made in ``grouping.py``. All choices and requests have seeds of their own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from openrlhf_marge.method.allocation import allocate
from openrlhf_marge.method.config import MargeConfig
from openrlhf_marge.method.grouping import Grouping
from openrlhf_marge.method.groups import StateGroup
from openrlhf_marge.method.guidance import GuidancePool, pick_guidance, without_end
from openrlhf_marge.method.guidance_rules import GUIDANCE_RULES
from openrlhf_marge.method.sampler import Sampler
from openrlhf_marge.method.self_evaluation import Question
from openrlhf_marge.method.splitters import DecodePieces, split_into_states
from openrlhf_marge.method.trees import Branch
from openrlhf_marge.seeds import generator, stable_hash
from openrlhf_marge.types import Completion, Guidance, State, TokenIds, pass_rate


@dataclass(frozen=True, kw_only=True)
class Visit(Grouping):
    """A problem, and what a strategy explores it with; it changes nothing but what the pool knows of this problem."""

    config: MargeConfig
    run_seed: int
    eos_ids: frozenset[int]
    n_completions: int  # per state
    sampler: Sampler
    decode_pieces: DecodePieces
    pool: GuidancePool  # of this problem and others; which others, --marge.explorers decides
    question: Question | None = None  # where the model judges solutions
    _asked: set[tuple[TokenIds, str]] = field(default_factory=set, init=False, repr=False)

    async def sample(self, prefix_ids: TokenIds, n: int, purpose: str) -> list[Completion]:
        """n completions of a prefix; ``purpose`` tells requests of the same prefix apart, and is part of their seeds.

        ValueError when a purpose has been used before for the prefix: the same completions might come again.
        """
        if (prefix_ids, purpose) in self._asked:
            raise ValueError(
                f"problem {self.problem.id}: the prefix of {len(prefix_ids)} tokens was completed for the purpose "
                f"{purpose!r} before, with the same seed; give another purpose"
            )
        self._asked.add((prefix_ids, purpose))
        seed = stable_hash(self.run_seed, self.problem.id, self.number, purpose, prefix_ids) % 2**31
        completions = await self.sampler.complete(self.problem, prefix_ids, n, seed)
        if len(completions) != n:
            raise RuntimeError(
                f"problem {self.problem.id}, prefix of {len(prefix_ids)} tokens: got {len(completions)} completions, "
                f"expected {n}"
            )
        return completions

    async def judged(self, solution: TokenIds) -> Completion | None:
        """The model's answer to the question whether a solution is right; its reward is the probability of that.

        None where the room for a response does not hold the question as well.
        """
        assert self.question is not None, "the host has made it for this exploration"
        ids = solution + self.question.ids
        if len(ids) >= self.problem.max_response_tokens:
            return None
        return await self.sampler.judged(self.problem, ids, self.question.option)

    async def candidates(self) -> StateGroup:
        """Responses from s_0 among which a first guidance is looked for; they are not trained on.

        Their pass rate is remembered.
        """
        completions = await self.sample(self.s0_ids, self.config.n_candidates, "candidates")
        self.pool.set_pass_rate(self.problem.id, pass_rate(completions))
        return StateGroup(
            id=self._group_id("candidates"), problem=self.problem, state=self.s0, n_states=1,
            completions=tuple(completions),
        )  # fmt: skip

    async def known_guidance(self) -> tuple[Guidance, ...]:
        """What the pool holds, or the response given with the data; empty without either."""
        given = self.problem.given_guidance
        if (known := self.pool.get(self.problem.id)) or given is None:
            return known
        ids = without_end(given[len(self.s0_ids) :], self.eos_ids, self.config.stop, self.decode_pieces)
        if not ids:
            return ()
        ids = self.s0_ids + ids
        is_correct = await self.sampler.is_correct(self.problem, ids)
        return (Guidance(token_ids=ids, is_correct=is_correct, pass_rate=float(is_correct), visit=self.number),)

    def pick(
        self, completions: Sequence[Completion], purpose: str, wanted: Collection[bool] | None = None,
        n_fixed: int | None = None,
    ) -> tuple[Guidance, ...]:  # fmt: skip
        """Guidance among completions of s_0; nothing is remembered of it.

        Which verdicts it may have is ``wanted``, or for ``--marge.guidance_rule`` to say by the pass rate of the first
        ``n_fixed``, or of all.
        """
        rng = generator(self.run_seed, self.problem.id, self.number, purpose)
        return pick_guidance(
            completions, self.s0_ids, self.eos_ids, self.config, rng, self.number, self.decode_pieces, wanted, n_fixed
        )  # fmt: skip

    def without_end(self, completion: Completion) -> TokenIds:
        """Its tokens before EOS and before a stop text."""
        return without_end(completion.token_ids, self.eos_ids, self.config.stop, self.decode_pieces)

    def remember(self, guidances: Sequence[Guidance]) -> None:
        """Let these be the known guidance of the next visit."""
        self.pool.set(self.problem.id, guidances)

    def refresh(self, completions: Sequence[Completion]) -> bool:
        """Remember the pass rate of completions of s_0, and new guidance among them; False when they give none.

        The pass rate is that of the ``n_first``: outcomes decided that there are more, and would bias it.
        """
        self.pool.set_pass_rate(self.problem.id, pass_rate(completions[: self.n_first]))
        if GUIDANCE_RULES.load(self.config.guidance_rule).picks_once:
            return False
        picked = self.pick(completions, "s_0", n_fixed=self.n_first)
        if picked:
            self.remember(picked)
        return bool(picked)

    def split(self, guidances: Sequence[Guidance]) -> list[State]:
        """All states of the guidances, s_0 first (``--marge.split``)."""
        return split_into_states(self.problem, guidances, self.s0_ids, self.config, self.decode_pieces)

    def states(self, guidances: Sequence[Guidance]) -> list[State]:
        """The states to complete: all, or s_0 alone where ``--marge.guide_when`` says that guidance does not pay."""
        states = self.split(guidances)
        # The pass rate is of this visit after refresh; it is unknown where guidance was given.
        return states if self.guides(self.pool.pass_rate(self.problem.id)) else states[:1]

    def guides(self, rate: float | None) -> bool:
        """Whether ``--marge.guide_when`` lets a problem of this pass rate at s_0 be guided."""
        return self.config.guide_when != "hard" or rate is None or rate <= self.config.guidance_threshold

    async def complete(self, states: list[State], first: list[Completion] | None = None) -> list[list[Completion]]:
        """All completions of all states, in their order; ``first`` are those that s_0 has already."""
        adaptive = self.config.state_budget == "adaptive" and len(states) > 1
        if not adaptive:
            return await self._round(states, [self.n_completions] * len(states), "first", first)
        n_first = self.n_first
        completed = await self._round(states, [n_first] * len(states), "first", first)
        verdicts = [[c.is_correct for c in completions] for completions in completed]
        more = allocate(self.n_completions, n_first, verdicts, [s.parent for s in states])
        added = await self._round(states, more, "more")
        return [[*a, *b] for a, b in zip(completed, added, strict=True)]

    @property
    def n_first(self) -> int:
        """Completions of a state before their outcomes decide about more (``--marge.state_budget``)."""
        return self.n_completions // 2 if self.config.state_budget == "adaptive" else self.n_completions

    async def _round(
        self, states: list[State], counts: list[int], purpose: str, first: list[Completion] | None = None
    ) -> list[list[Completion]]:
        async def complete(state: State, n: int) -> list[Completion]:
            if first is not None and state.index == 0:
                return first
            return await self.sample(state.prefix_ids, n, purpose) if n else []

        return list(await asyncio.gather(*map(complete, states, counts)))

    async def branches(self, prefixes: Sequence[TokenIds], n: int, purpose: str) -> list[Branch]:
        """n completions of each prefix, prefix after prefix; ``purpose`` as in ``sample``."""
        completed = await asyncio.gather(*(self.sample(prefix, n, purpose) for prefix in prefixes))
        return [Branch(prefix, c) for prefix, of_one in zip(prefixes, completed, strict=True) for c in of_one]
