"""Whether two expressions, equations or inequalities are the same: the part that runs in a grader process.

latex2sympy2 parses both without evaluating anything; they are the same when their values agree in 250 digits at random
points, which settles any identity between analytic expressions with certainty for all practical purposes, and needs no
simplification, whose cost has no bound. Equations are the same when their differences lhs - rhs have a constant ratio,
inequalities when that ratio is also positive and both are strict or both are not.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

import mpmath
import sympy

from openrlhf_marge.grading.errors import Unparsable
from openrlhf_marge.grading.evaluation import DIGITS, evaluate
from openrlhf_marge.grading.limits import check
from openrlhf_marge.grading.parsing import parse_latex
from openrlhf_marge.grading.structure import OPERATORS, split_top
from openrlhf_marge.grading.warm_up import EXPRESSIONS

N_POSITIVE, N_NEGATIVE = 3, 3
AGREED = mpmath.mpf(10) ** -250  # relative; integers of fewer digits than that are told apart
AGREED_ROUNDED = mpmath.mpf(10) ** -6  # relative, where one of them has a decimal point


def symbolically_equal(answer: str, gold: str) -> bool:
    """ValueError (``Unparsable``) when one of them cannot be read or is out of bounds."""
    for text in (answer, gold):
        check(text)
    a, g = _sides(answer), _sides(gold)
    if len(a) != len(g) or (len(a) == 3 and a[1] != g[1]):
        return False
    agreed = AGREED_ROUNDED if "." in answer + gold else AGREED
    with mpmath.workdps(DIGITS):
        if len(a) == 1:
            return _same_values(parse_latex(a[0]), parse_latex(g[0]), agreed)
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
    """(whether all coordinates are positive, point); the same for equal names."""
    points = []
    for number in range(N_POSITIVE + N_NEGATIVE if symbols else 1):
        positive = number < N_POSITIVE
        point = {}
        for name in sorted(symbols):
            rng = random.Random(f"{name} {number}")
            value = mpmath.mpf(rng.randrange(3 * 10**8, 25 * 10**8)) / 10**9
            point[name] = value if positive or rng.random() < 0.3 else -value
        if "i" in point:
            point["i"] = mpmath.mpc(0, 1)
        points.append((positive, point))
    return points


def _values(one: sympy.Basic, other: sympy.Basic) -> Iterator[tuple[bool, mpmath.mpf, mpmath.mpf]]:
    """(whether the point is positive, both values) wherever both have one; Unparsable when no positive point has."""
    symbols = {s.name for tree in (one, other) for s in tree.free_symbols}
    found = False
    for positive, point in _points(symbols):
        try:
            values = evaluate(one, point), evaluate(other, point)
        except ZeroDivisionError:
            continue
        except (ArithmeticError, TypeError, ValueError) as e:
            raise Unparsable(f"no value at a point: {e}") from e
        found = found or positive
        yield positive, *values
    if not found:
        raise Unparsable("no point at which both have a value")


def _same_values(one: sympy.Basic, other: sympy.Basic, agreed: mpmath.mpf) -> bool:
    if one == other:
        return True
    for positive, a, b in _values(one, other):
        # Away from the positive numbers roots have branches, on which two right answers may differ.
        if not positive and any(isinstance(v, mpmath.mpc) and v.imag for v in (a, b)):
            continue
        if a != b and (mpmath.isinf(a - b) or abs(a - b) > agreed * max(abs(a), abs(b))):
            return False
    return True


def _proportional(one: sympy.Basic, other: sympy.Basic, positive: bool) -> bool:
    if not (one.free_symbols and other.free_symbols):
        return False  # 1 = 1 says nothing about x = x
    ratios = [a / b for _, a, b in _values(one, other) if b]
    if len(ratios) < 2 or not ratios[0]:
        return False
    if positive and not (getattr(ratios[0], "imag", 0) == 0 and ratios[0].real > 0):
        return False
    return all(abs(r - ratios[0]) <= AGREED * abs(ratios[0]) for r in ratios)
