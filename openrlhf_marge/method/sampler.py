"""What a visit samples with: the host gives engines and grader by this protocol, tests a script."""

from __future__ import annotations

from typing import Protocol

from openrlhf_marge.types import Completion, Problem, TokenIds


class Sampler(Protocol):
    """The host's engines and grader."""

    async def complete(self, problem: Problem, prefix_ids: TokenIds, n: int, seed: int) -> list[Completion]:
        """n graded completions sampled from x + prefix."""

    async def is_correct(self, problem: Problem, response_ids: TokenIds) -> bool:
        """The verdict on a whole response."""

    async def judged(self, problem: Problem, ids: TokenIds, option: int) -> Completion:
        """The token ``option`` after x + ids, with its probability as the reward."""
