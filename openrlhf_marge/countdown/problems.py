r"""Countdown problems: numbers and a target -> `Countdown` -> question, worked solutions, label.

`Make 24 from 2 3 4 8.` asks for an expression of all four numbers, each used once. A response works from left to
right: its first step joins two numbers, each further one joins the result with another number, and the box holds the
whole as one expression. No step is fatal by itself: most results lead to the target in some way.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

from openrlhf_marge.rewards.countdown import countdown

COT_PREFIX = "Let's think step by step.\n\n"
MAX_RESULT = 99
"""Of a step: two digits."""
MIN_TARGET = 10


@dataclass(frozen=True, slots=True)
class Step:
    """One line of a response, such as `3*8=24`."""

    left: int
    sign: str
    right: int
    result: int

    def __str__(self) -> str:
        return f"{self.left}{self.sign}{self.right}={self.result}"


Path = tuple[Step, ...]
"""Steps that use all numbers, the last result being the answer."""


@dataclass(frozen=True, slots=True)
class Countdown:
    """Numbers in ascending order, so that equal problems are equal objects."""

    datasource: ClassVar[str] = "countdown"

    target: int
    numbers: tuple[int, ...]

    @property
    def question(self) -> str:
        """The user message, without a chat template."""
        return f"Make {self.target} from {self._listed}."

    @property
    def label(self) -> str:
        """Target and numbers."""
        return f"{self.target}: {self._listed}"

    @property
    def _listed(self) -> str:
        return " ".join(map(str, self.numbers))

    def is_solved_by(self, response: str) -> bool:
        """Whether the reward is 1."""
        return countdown(response, self.label) == 1.0


def format_response(path: Path) -> str:
    """The response a model is taught: the paper's CoT prefix, a labelled line per step, the boxed expression."""
    steps = "".join(f"Step {number}: {step}\n" for number, step in enumerate(path, start=1))
    expression = str(path[0].left)
    for number, step in enumerate(path):
        expression = f"({expression})" if number else expression
        expression += f"{step.sign}{step.right}"
    return f"{COT_PREFIX}{steps}The answer is: \\boxed{{{expression}}}."


def steps_of(left: int, right: int) -> list[Step]:
    """The steps that join two numbers in this order, with a result from 1 to `MAX_RESULT`."""
    results = [("+", left + right), ("-", left - right), ("*", left * right)]
    if left % right == 0:
        results.append(("/", left // right))
    return [Step(left, sign, right, result) for sign, result in results if 1 <= result <= MAX_RESULT]


@lru_cache(maxsize=10_000)
def paths_of(numbers: tuple[int, ...]) -> tuple[Path, ...]:
    """All paths from left to right over these numbers."""
    first = [(left, _without(numbers, left)) for left in sorted(set(numbers))]
    return tuple(path for left, rest in first for path in _paths_from(left, rest))


def solutions(problem: Countdown) -> list[Path]:
    """The paths that reach the target."""
    return [path for path in paths_of(problem.numbers) if path[-1].result == problem.target]


def walk(numbers: Sequence[int], rng: random.Random) -> Path | None:
    """A random path; None when a step has no result in the range, which is rare."""
    left, *rest = rng.sample(list(numbers), len(numbers))
    path: list[Step] = []
    for right in rest:
        steps = steps_of(left, right)
        if not steps:
            return None
        path.append(rng.choice(steps))
        left = path[-1].result
    return tuple(path)


def generate_problems(rng: random.Random, num_numbers: int, max_number: int, max_target: int) -> Iterator[Countdown]:
    """Endless problems with a solution, not distinct: a random path over random numbers ends at the target."""
    while True:
        numbers = tuple(sorted(rng.randint(1, max_number) for _ in range(num_numbers)))
        path = walk(numbers, rng)
        if path and MIN_TARGET <= path[-1].result <= max_target:
            yield Countdown(path[-1].result, numbers)


def _without(numbers: tuple[int, ...], number: int) -> tuple[int, ...]:
    place = numbers.index(number)
    return numbers[:place] + numbers[place + 1 :]


def _paths_from(left: int, numbers: tuple[int, ...]) -> Iterator[Path]:
    if not numbers:
        yield ()
    for right in sorted(set(numbers)):
        for step in steps_of(left, right):
            for path in _paths_from(step.result, _without(numbers, right)):
                yield (step, *path)
