"""Levels of Countdown: how many numbers, how large, and how often the teacher finds the way."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from openrlhf_marge.arithmetic.task import distinct
from openrlhf_marge.countdown.problems import Countdown, generate_problems
from openrlhf_marge.countdown.teacher import Wanderer

PHRASES = (
    "Let's think step by step.",
    "\n\n",
    "Step 1:",
    "Step 2:",
    "Step 3:",
    "The answer is: \\boxed{",
    "}.",
    "Make ",
    " from ",
    "system",
    "user",
    "assistant",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Level:
    """A level, which is a `Task`."""

    num_numbers: int
    max_number: int
    max_target: int
    skill: float  # share of the teacher's demonstrations that reach the target by intent
    num_train: int
    max_len: int  # tokens of prompt and response
    min_pass_at_1: float = 0.0
    dtype: str = "float32"
    phrases: Sequence[str] = PHRASES

    def problems(self, rng: random.Random) -> Iterator[Countdown]:
        """Distinct problems."""
        return distinct(generate_problems(rng, self.num_numbers, self.max_number, self.max_target))

    def problems_to_demonstrate(self, rng: random.Random, heldout: Sequence[Countdown]) -> Iterator[Countdown]:
        """Endless problems, none of the held-out ones; there are too few to be distinct."""
        held_out = set(heldout)
        problems = generate_problems(rng, self.num_numbers, self.max_number, self.max_target)
        return (problem for problem in problems if problem not in held_out)

    def teacher(self, seed: int) -> Wanderer:
        """It has no weak facts, so nothing of it follows from the seed."""
        return Wanderer(self.skill)


# The base models of seed 0 have pass@1 0.27 and 0.03; of groups of 8 responses 22 % and 81 % are all wrong.
LEVELS = {
    "easy": Level(num_numbers=3, max_number=9, max_target=40, skill=0.7, num_train=512, max_len=64),
    "hard": Level(num_numbers=4, max_number=9, max_target=40, skill=0.05, num_train=512, max_len=80),
}
