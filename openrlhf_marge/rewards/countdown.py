r"""The reward of Countdown: a boxed expression must reach the target with the given numbers, each used once.

``24: 3 8 2 4`` is a label: the target and the numbers. A response is correct when its last ``\boxed{}`` holds an
expression of these numbers, ``+ - * /`` and round brackets, whose exact value is the target. The expression is read by
the parser below and never run; steps before the box are not graded.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterator
from fractions import Fraction

MAX_CHARS = 400  # of an expression
MAX_NESTING = 20  # brackets within brackets
BOX = "\\boxed{"
LABEL = re.compile(r"\s*(-?[0-9]{1,9})\s*:\s*([0-9]{1,9}(?:\s+[0-9]{1,9}){0,15})\s*")
TOKEN = re.compile(r"\s*([0-9]{1,9}(?![0-9])|[-+*/()])\s*")
SUMS: dict[str, Callable[[Fraction, Fraction], Fraction]] = {"+": operator.add, "-": operator.sub}
PRODUCTS: dict[str, Callable[[Fraction, Fraction], Fraction]] = {"*": operator.mul, "/": operator.truediv}


class NoExpression(ValueError):
    """The text is none that the grammar allows."""


def countdown(response: str, label: str) -> float:
    """1.0 when the boxed expression reaches the target, else 0.0; ValueError for a label without target or numbers."""
    target, numbers = read_label(label)
    try:
        expression = tokens(last_box(response))
        if sorted(int(token) for token in expression if token.isdigit()) != sorted(numbers):
            return 0.0
        return float(value_of(expression) == target)
    except (NoExpression, ZeroDivisionError):
        return 0.0


def read_label(label: str) -> tuple[int, list[int]]:
    """Target and numbers; ValueError when they are not there."""
    found = LABEL.fullmatch(label)
    if not found:
        raise ValueError(
            f"the label {label[:80]!r} has no target and numbers; write TARGET: NUMBERS, such as '24: 3 8 2 4'"
        )
    return int(found[1]), [int(number) for number in found[2].split()]


def last_box(response: str) -> str:
    """What the last box holds; NoExpression without one, and when it is never closed."""
    start = response.rfind(BOX)
    end = response.find("}", start)
    if start < 0 or end < 0:
        raise NoExpression("no box")
    return response[start + len(BOX) : end]


def tokens(text: str) -> list[str]:
    """Numbers, operators and brackets; NoExpression for anything else, and for a text that is too long."""
    if len(text) > MAX_CHARS:
        raise NoExpression("too long")
    found, position = [], 0
    while position < len(text):
        match = TOKEN.match(text, position)
        if not match:
            raise NoExpression(f"no token at character {position}")
        found.append(match[1])
        position = match.end()
    return found


def value_of(expression: list[str]) -> Fraction:
    """The exact value by the usual precedence; NoExpression, or ZeroDivisionError."""
    rest = iter([*expression, ""])
    value, end = _chain(next(rest), rest, 0, SUMS)
    if end:
        raise NoExpression(f"{end} is left over")
    return value


def _chain(
    token: str, rest: Iterator[str], nesting: int, operators: dict[str, Callable[[Fraction, Fraction], Fraction]]
) -> tuple[Fraction, str]:
    """The value of what begins with ``token`` and is joined by ``operators``, from left to right; the token after."""

    def operand(token: str) -> tuple[Fraction, str]:
        return _chain(token, rest, nesting, PRODUCTS) if operators is SUMS else _atom(token, rest, nesting)

    value, token = operand(token)
    while token in operators:
        apply = operators[token]
        right, token = operand(next(rest))
        value = apply(value, right)
    return value, token


def _atom(token: str, rest: Iterator[str], nesting: int) -> tuple[Fraction, str]:
    """The value of a number or of a sum in brackets, and the token after it."""
    if token.isdigit():
        return Fraction(token), next(rest)
    if token != "(" or nesting == MAX_NESTING:
        raise NoExpression(f"{token!r} where a number must stand, or brackets too deep")
    value, token = _chain(next(rest), rest, nesting + 1, SUMS)
    if token != ")":
        raise NoExpression("a bracket is open")
    return value, next(rest)
