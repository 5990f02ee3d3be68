"""Multi-step arithmetic problems: seed -> `Chain` -> question, worked solution, JSONL row.

A problem is a chain such as `What is 47+8-9?`, worked out left to right, one operation per step. Only + and - with one
digit: they carry a wrong intermediate value unchanged into the answer, so a response with an early error is hardly
ever correct by luck (two opposite slips), nor is a guess (answers 20 to 79). No modulus; `\\boxed{}` is graded.
"""

import json
import random
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

DATASOURCE = "arithmetic"
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


def generate_problems(rng: random.Random, exclude: Iterable[Chain] = ()) -> Iterator[Chain]:
    """Endless stream of distinct problems, none of them in `exclude`."""
    seen = set(exclude)
    while True:
        problem = _draw_problem(rng)
        if problem not in seen:
            seen.add(problem)
            yield problem


def split_problems(seed: int, num_train: int, num_heldout: int) -> tuple[list[Chain], list[Chain]]:
    """Training and held-out problems, disjoint. The held-out ones do not change with `num_train`."""
    stream = generate_problems(random.Random(seed))
    heldout = [next(stream) for _ in range(num_heldout)]
    return [next(stream) for _ in range(num_train)], heldout


def write_jsonl(problems: Iterable[Chain], path: Path) -> None:
    """Rows for OpenRLHF's `--data.input_key input --data.label_key label --data.apply_chat_template`."""
    rows = ({"input": p.question, "label": str(p.answer), "datasource": DATASOURCE} for p in problems)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def _draw_problem(rng: random.Random) -> Chain:
    """A chain whose every intermediate value stays within the bounds."""
    start = value = rng.randint(MIN_VALUE, MAX_VALUE)
    operations: list[Operation] = []
    num_steps = rng.randint(MIN_STEPS, MAX_STEPS)
    while len(operations) < num_steps:
        operation = rng.choice(OPERATIONS)
        if MIN_VALUE <= operation.apply(value) <= MAX_VALUE:
            operations.append(operation)
            value = operation.apply(value)
    return Chain(start, tuple(operations))
