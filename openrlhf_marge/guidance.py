"""Which response guides a problem (Sec. 3.3), and the pool that remembers it between visits.

Choices are drawn from a generator seeded by (run seed, problem, visit): the order in which answers arrive from the
engines cannot change them, and the visit counts are all the random state there is to save.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from openrlhf_marge.types import Completion, Guidance, TokenIds


def pick_guidance(
    completions: Sequence[Completion], s0_ids: TokenIds, eos_ids: frozenset[int], threshold: float, rng: random.Random
) -> Guidance | None:
    """Rule ``preference``: a problem with a pass rate above ``threshold`` gets an incorrect one, others a correct.

    ``completions`` are those of s_0. None when there is no response of the wanted kind (or only empty ones).
    """
    pass_rate = sum(c.reward for c in completions) / len(completions)
    want_correct = not pass_rate > threshold
    wanted = (without_eos(c.token_ids, eos_ids) for c in completions if c.is_correct == want_correct)
    suitable = [ids for ids in wanted if ids]
    if not suitable:
        return None
    return Guidance(token_ids=s0_ids + rng.choice(suitable), is_correct=want_correct)


def without_eos(ids: TokenIds, eos_ids: frozenset[int]) -> TokenIds:
    """``ids`` up to the first EOS: what follows it no policy would have sampled."""
    end = next((i for i, token in enumerate(ids) if token in eos_ids), len(ids))
    return ids[:end]


@dataclass(frozen=True)
class PoolState:
    """What a checkpoint holds of the pool; its short repr keeps guidance out of logs that print checkpoint states."""

    guidance: Mapping[str, Guidance]
    visits: Mapping[str, int]

    def __repr__(self) -> str:
        return f"<guidance of {len(self.guidance)} problems>"


class GuidancePool:
    """The present guidance of every problem, and how often each was visited."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._guidance: dict[str, Guidance] = {}
        self._visits: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._guidance)

    def get(self, problem_id: str) -> Guidance | None:
        return self._guidance.get(problem_id)

    def set(self, problem_id: str, guidance: Guidance) -> None:
        self._guidance[problem_id] = guidance

    def visit(self, problem_id: str) -> random.Random:
        """Count a visit and return the generator for all choices made during it."""
        visit = self._visits.get(problem_id, 0)
        self._visits[problem_id] = visit + 1
        return random.Random(f"{self._seed}/{problem_id}/{visit}")

    def state_dict(self) -> PoolState:
        return PoolState(guidance=dict(self._guidance), visits=dict(self._visits))

    def load_state_dict(self, state: PoolState) -> None:
        self._guidance, self._visits = dict(state.guidance), dict(state.visits)
