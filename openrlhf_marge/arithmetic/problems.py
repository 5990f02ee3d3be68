"""Multi-step arithmetic problems: seed -> `Chain` -> question, worked solution, label.

A problem is a chain such as `What is 47+8-9?`, worked out left to right, one operation per step. Only + and - with one
digit: they carry a wrong intermediate value unchanged into the answer, so a response with an early error is hardly
ever correct by luck (two opposite slips), nor is a guess (answers 20 to 79). No modulus; `\\boxed{}` is graded.
"""

import random
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import count
from typing import ClassVar

from openrlhf_marge.arithmetic.task import distinct, split

COT_PREFIX = "Let's think step by step.\n\n"
MIN_STEPS, MAX_STEPS = 4, 6
MIN_VALUE, MAX_VALUE = 20, 79
"""Range of every correct intermediate value: a slip of 10 still leaves a number of two digits."""
MAX_OPERAND = 9

_BOXED = re.compile(r"\\boxed\{([^{}]*)\}")


@dataclass(frozen=True, slots=True)
class Operation:
    """One step of a chain, e.g. `+8`."""

    sign: str  # "+" or "-"
    operand: int  # 1 to 9

    def apply(self, value: int) -> int:
        """The correct result of this operation on `value`."""
        return value + self.operand if self.sign == "+" else value - self.operand

    def __str__(self) -> str:
        return f"{self.sign}{self.operand}"


OPERATIONS = tuple(Operation(sign, operand) for sign in "+-" for operand in range(1, MAX_OPERAND + 1))

Calculator = Callable[[int, Operation], int]
"""(value, operation) -> result: `calculate`, or a teacher that errs."""


def calculate(value: int, operation: Operation) -> int:
    """The calculator that makes no mistakes."""
    return operation.apply(value)


@dataclass(frozen=True, slots=True)
class Chain:
    """A chain of operations on a start value; equal chains are equal problems (hashable)."""

    datasource: ClassVar[str] = "arithmetic"

    start: int
    operations: tuple[Operation, ...]

    @property
    def question(self) -> str:
        """The user message, without a chat template."""
        return f"What is {self.start}{''.join(map(str, self.operations))}?"

    @property
    def steps(self) -> tuple[str, ...]:
        """The correct equations, one per operation."""
        return self.work_out(calculate)

    @property
    def answer(self) -> int:
        """The correct result."""
        value = self.start
        for operation in self.operations:
            value = operation.apply(value)
        return value

    @property
    def label(self) -> str:
        """The correct result as a text."""
        return str(self.answer)

    def is_solved_by(self, response: str) -> bool:
        """Whether the last box holds the correct result."""
        return boxed_answer(response) == self.label

    def work_out(self, calculator: Calculator) -> tuple[str, ...]:
        """Equations as `calculator` gets them; each step goes on from the result before, right or wrong."""
        equations, value = [], self.start
        for operation in self.operations:
            result = calculator(value, operation)
            equations.append(f"{value}{operation}={result}")
            value = result
        return tuple(equations)


def format_response(equations: Iterable[str]) -> str:
    """The response a model is taught: the paper's CoT prefix, a labelled line per step, the boxed answer."""
    lines = list(equations)
    answer = lines[-1].rpartition("=")[2]
    steps = "".join(f"Step {number}: {line}\n" for number, line in enumerate(lines, start=1))
    return f"{COT_PREFIX}{steps}The answer is: \\boxed{{{answer}}}."


def boxed_answer(response: str) -> str | None:
    """Content of the last `\\boxed{}` of a response, None without one."""
    found = _BOXED.findall(response)
    return found[-1] if found else None


def generate_problems(
    rng: random.Random, exclude: Iterable[Chain] = (), steps: tuple[int, int] = (MIN_STEPS, MAX_STEPS)
) -> Iterator[Chain]:
    """Endless stream of distinct problems of `steps` (least, most) steps, none of them in `exclude`."""
    return distinct((_draw_problem(rng, *steps) for _ in count()), exclude)


def split_problems(seed: int, num_train: int, num_heldout: int) -> tuple[list[Chain], list[Chain]]:
    """Training and held-out problems of the level `easy`, as `split` makes them."""
    return split(generate_problems(random.Random(seed)), num_train, num_heldout)


def _draw_problem(rng: random.Random, min_steps: int, max_steps: int) -> Chain:
    """A chain whose every intermediate value stays within the bounds."""
    start = value = rng.randint(MIN_VALUE, MAX_VALUE)
    operations: list[Operation] = []
    num_steps = rng.randint(min_steps, max_steps)
    while len(operations) < num_steps:
        operation = rng.choice(OPERATIONS)
        if MIN_VALUE <= operation.apply(value) <= MAX_VALUE:
            operations.append(operation)
            value = operation.apply(value)
    return Chain(start, tuple(operations))
