"""Compares two expressions, equations or inequalities: the part that runs in a grader process.

latex2sympy2 parses both without evaluating anything; they are the same when their values agree in 40 digits or more
at random points. That settles any identity between analytic expressions for all practical purposes, and needs no
simplification, whose cost has no bound. Equations are the same when their differences lhs - rhs have a constant ratio,
inequalities when that ratio is also positive and both are strict or both are not.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

import mpmath
import sympy

from openrlhf_marge.grading.errors import Unparsable
from openrlhf_marge.grading.limits import check
from openrlhf_marge.grading.parsing import parse_latex
from openrlhf_marge.grading.structure import OPERATORS, split_top
from openrlhf_marge.grading.values import Evaluation
from openrlhf_marge.grading.warm_up import EXPRESSIONS

N_POSITIVE, N_NEGATIVE = 4, 3
RANGES = ((0.3, 2.5), (2, 12), (10, 60))  # of coordinates: |x - 10| is 10 - x near 0 only
DIGITS = 60
SPARE_DIGITS = 20  # lost to rounding
ROUNDED = mpmath.mpf(10) ** -6  # relative, where one of them has a decimal point


def symbolically_equal(answer: str, gold: str) -> bool:
    """ValueError (``Unparsable``) when one of them cannot be read or is out of bounds."""
    for text in (answer, gold):
        check(text)
    a, g = _sides(answer), _sides(gold)
    if len(a) != len(g) or (len(a) == 3 and a[1] != g[1]):
        return False
    with mpmath.workdps(DIGITS):
        if len(a) == 1:
            return _same_values(parse_latex(a[0]), parse_latex(g[0]), rounded="." in answer + gold)
        differences = [sympy.Add(parse_latex(x), -parse_latex(y), evaluate=False) for x, _, y in (a, g)]
        return _proportional(*differences, positive=a[1] in ("<", "\\le"))


def warm_up() -> None:
    """What a grader process does before its first request, so that the first answers are not the slow ones."""
    for text in EXPRESSIONS:
        symbolically_equal(text, text)


def _sides(text: str) -> tuple[str, ...]:
    """(expression,) or (smaller side, operator, larger side)."""
    parts = split_top(text, OPERATORS)
    if parts is None or len(parts) > 2:
        raise Unparsable(f"{text[:80]!r} is no single expression or relation")
    if len(parts) == 1:
        return (text,)
    operator = OPERATORS.match(text, len(parts[0]))[0]
    flipped = {">": "<", "\\ge": "\\le"}.get(operator)
    return (parts[1], flipped, parts[0]) if flipped else (parts[0], operator, parts[1])


def _points(symbols: set[str]) -> list[tuple[bool, dict[str, mpmath.mpf]]]:
    """(whether all coordinates are positive, point); equal names have equal coordinates."""
    points = []
    for number in range(N_POSITIVE + N_NEGATIVE if symbols else 1):
        positive = number < N_POSITIVE
        point = {}
        for name in sorted(symbols):
            rng = random.Random(f"{name} {number}")
            value = mpmath.mpf(round(rng.uniform(*RANGES[number % len(RANGES)]) * 10**9)) / 10**9
            if number == N_POSITIVE - 1:
                value = mpmath.mpf(rng.choice((6, 12, 24)))  # where rounding up and down is the same
            point[name] = value if positive or rng.random() < 0.3 else -value
        if "i" in point:
            point["i"] = mpmath.mpc(0, 1)
        points.append((positive, point))
    return points


@dataclass(frozen=True)
class _Pair:
    """Values of two expressions at a point, and the size of the largest step on the way to them."""

    positive: bool
    a: mpmath.mpf
    g: mpmath.mpf
    bits: int
    extreme_bits: int

    def agree(self) -> bool:
        """Up to rounding: what is lost is relative to the largest step."""
        noise = mpmath.mpf(2) ** self.bits * mpmath.mpf(10) ** (SPARE_DIGITS - mpmath.mp.dps)
        return self.a == self.g or (not mpmath.isinf(self.a - self.g) and abs(self.a - self.g) <= noise)

    def is_close(self) -> bool:
        """To so many digits as a decimal has; infinity is close to no number."""
        difference = self.a - self.g
        return mpmath.isfinite(difference) and abs(difference) <= ROUNDED * max(abs(self.a), abs(self.g))


def _pair(one: sympy.Basic, other: sympy.Basic, positive: bool, point: dict[str, mpmath.mpf]) -> _Pair | None:
    """None where one of them has no value."""
    evaluation = Evaluation(point)
    try:
        values = evaluation.value(one), evaluation.value(other)
    except ZeroDivisionError:
        return None
    except (ArithmeticError, TypeError, ValueError) as e:
        raise Unparsable(f"no value at a point: {e}") from e
    return _Pair(positive, *values, evaluation.bits, evaluation.extreme_bits)


def _pairs(one: sympy.Basic, other: sympy.Basic, rounded: bool = False) -> Iterator[_Pair]:
    """Wherever both have a value; Unparsable when no positive point is among them."""
    symbols = {s.name for tree in (one, other) for s in tree.free_symbols}
    found = False
    for positive, point in _points(symbols):
        if (pair := _pair(one, other, positive, point)) is None:
            continue
        if pair.agree() and pair.extreme_bits > DIGITS:
            # 2^2024 - 1 needs more digits than 2x, and so does 1 - 2^-100.
            with mpmath.workdps(DIGITS + int(0.61 * pair.extreme_bits)):
                pair = _pair(one, other, positive, point)
                agreed = pair is not None and (pair.agree() or (rounded and pair.is_close()))
            if not agreed:
                raise _Differ
        found = found or positive
        yield pair
    if not found:
        raise Unparsable("no point at which both have a value")


class _Differ(Exception):
    """Two values differ by less than the first digits show."""


def _same_values(one: sympy.Basic, other: sympy.Basic, rounded: bool) -> bool:
    if one == other:
        return True
    try:
        for pair in _pairs(one, other, rounded):
            # Away from the positive numbers roots have branches, on which two right answers may differ.
            if not pair.positive and any(isinstance(v, mpmath.mpc) and v.imag for v in (pair.a, pair.g)):
                continue
            if not (pair.agree() or (rounded and pair.is_close())):
                return False
    except _Differ:
        return False
    return True


def _proportional(one: sympy.Basic, other: sympy.Basic, positive: bool) -> bool:
    if not (one.free_symbols and other.free_symbols):
        return False  # 1 = 1 says nothing about x = x
    try:
        ratios = [pair.a / pair.g for pair in _pairs(one, other) if pair.g]
    except _Differ:
        return False
    if len(ratios) < 2 or not ratios[0]:
        return False
    if positive and not (getattr(ratios[0], "imag", 0) == 0 and ratios[0].real > 0):
        return False
    return all(abs(r - ratios[0]) <= mpmath.mpf(10) ** -30 * abs(ratios[0]) for r in ratios)
