"""A teacher that errs: `Chain` -> noisy demonstration, the text a base model is trained on.

Each arithmetic fact, e.g. (units digit 7, +8), has its own error rate and its own wrong result. A model that learns
this makes systematic errors spread over all steps; RL can undo them for unseen problems too, as problems share facts.
A model merely stopped early errs in other ways: RL then fits its training problems only.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from openrlhf_marge.arithmetic.problems import OPERATIONS, Chain, Operation, format_response

SLIPS = (-10, -2, -1, 1, 2, 10)
"""Differences between a wrong and the right result: a lost or invented carry, or a miscount."""
SLIPS_UP = (1, 2, 3)
"""These never cancel: where most facts are weak, every tenth wrong solution would be right by luck with ``SLIPS``."""

Fact = tuple[int, Operation]
"""(units digit of the value, operation): what an addition table of one digit has as its entries."""


@dataclass(frozen=True, slots=True)
class Weakness:
    """How a teacher fails at one fact."""

    error_rate: float  # probability of the wrong result
    slip: int  # wrong result minus correct result


class NoisyTeacher:
    """Works problems out with errors; the weaknesses follow from the seed, the errors from the `rng` of each call."""

    def __init__(
        self, seed: int, weak_share: float = 0.45, max_error_rate: float = 0.8, slips: Sequence[int] = SLIPS
    ) -> None:
        """`weak_share` of the facts get error rates spread evenly over (0, `max_error_rate`), the others none.

        Even spacing, not random draws: the mean error rate, hence the base model's accuracy, hardly differs by seed.
        """
        rng = random.Random(seed)
        facts: list[Fact] = [(units, operation) for units in range(10) for operation in OPERATIONS]
        rng.shuffle(facts)
        weak = facts[: round(weak_share * len(facts))]
        self.weaknesses = {
            fact: Weakness(max_error_rate * (rank + 0.5) / len(weak), rng.choice(slips))
            for rank, fact in enumerate(weak)
        }

    def demonstrate(self, problem: Chain, rng: random.Random) -> str:
        """A response to `problem`, errors included."""
        return format_response(problem.work_out(lambda value, operation: self._calculate(value, operation, rng)))

    def _calculate(self, value: int, operation: Operation, rng: random.Random) -> int:
        weakness = self.weaknesses.get((value % 10, operation))
        if weakness is None or rng.random() >= weakness.error_rate:
            return operation.apply(value)
        return operation.apply(value) + weakness.slip
