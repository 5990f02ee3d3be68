"""Levels of the arithmetic task: how long its chains are, how much the teacher errs, how many problems RL has.

The teacher's errors, once learned, decide how many problems a base model solves. A level is made harder by them and by
a few more steps, not by long chains: tokens are what a run is paid in.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from openrlhf_marge.arithmetic.model import PHRASES
from openrlhf_marge.arithmetic.problems import MAX_STEPS, Chain, generate_problems
from openrlhf_marge.arithmetic.teacher import SLIPS, SLIPS_UP, NoisyTeacher


@dataclass(frozen=True, kw_only=True, slots=True)
class Level:
    """A level, which is a `Task`."""

    min_steps: int
    max_steps: int
    weak_share: float  # of the facts with a teacher who errs
    max_error_rate: float  # of the weakest fact
    slips: Sequence[int] = SLIPS_UP  # wrong results minus right ones
    num_train: int
    max_len: int  # tokens of prompt and response
    min_pass_at_1: float = 0.0
    dtype: str = "float32"

    @property
    def phrases(self) -> Sequence[str]:
        """Those of chains of 6 steps come first, so that their tokens are the same at every level."""
        return (*PHRASES, *(f"Step {number}:" for number in range(MAX_STEPS + 1, self.max_steps + 1)))

    def problems(self, rng: random.Random) -> Iterator[Chain]:
        """Endless, distinct chains."""
        return generate_problems(rng, steps=(self.min_steps, self.max_steps))

    def problems_to_demonstrate(self, rng: random.Random, heldout: Sequence[Chain]) -> Iterator[Chain]:
        """Endless, distinct chains, none of the held-out ones."""
        return generate_problems(rng, heldout, (self.min_steps, self.max_steps))

    def teacher(self, seed: int) -> NoisyTeacher:
        """Its weak facts follow from the seed."""
        return NoisyTeacher(seed, self.weak_share, self.max_error_rate, self.slips)


LEVELS = {
    # One round of the schedule has sufficed for each of six seeds (pass@1 0.40 to 0.46).
    "easy": Level(
        min_steps=4, max_steps=6, weak_share=0.45, max_error_rate=0.8, slips=SLIPS, num_train=512, max_len=96,
        min_pass_at_1=0.3, dtype="bfloat16",
    ),
    "hard": Level(min_steps=5, max_steps=7, weak_share=0.82, max_error_rate=0.8, num_train=512, max_len=112),
    # pass@1 0.010 with seed 0: 94 % of groups of 8 responses are all wrong.
    "xhard": Level(min_steps=8, max_steps=8, weak_share=1.0, max_error_rate=0.88, num_train=512, max_len=120),
    "few": Level(min_steps=4, max_steps=6, weak_share=0.72, max_error_rate=0.8, num_train=48, max_len=96),
}  # fmt: skip
