"""Intervals from inequalities, unions with overlapping parts joined, both signs of a plus-minus."""

from __future__ import annotations

import math
import re
from fractions import Fraction

from openrlhf_marge.grading.numbers import read_number
from openrlhf_marge.grading.structure import Collection, Expression, Node, Relation, parse

MINUS_INFINITY, INFINITY = Expression("-\\infty"), Expression("\\infty")
PLUS_MINUS = re.compile(r"(?<![-+])(?<![-+] )\\(pm|mp)(?![A-Za-z])")
VARIABLE = re.compile(r"\\?[A-Za-z]+(?:_\{?\w+\}?)?(?:\s*\([^()]*\))?")
# Of such an end a float tells on which side of another it lies.
IRRATIONAL = re.compile(
    r"(?P<sign>[+-]?)(?:\\frac\{)?(?P<times>\d{0,9})(?:\\sqrt\{(?P<root>\d{1,15})\}|\\pi)(?:\}\{(?P<by>[1-9]\d{0,9})\}|/(?P<over>[1-9]\d{0,9}))?"
)
BRACKETS = ("(", "["), (")", "]")  # strict, and with its end


def as_interval(relation: Relation) -> Collection | None:
    """The interval of a < x <= b, x < b or a < x, all written upwards; None for any other relation."""
    if not set(relation.operators) <= {"<", "\\le"}:
        return None
    closed, sides = [operator == "\\le" for operator in relation.operators], relation.sides
    if len(sides) == 3 and is_variable(sides[1]):
        return _interval(closed[0], sides[0], sides[2], closed[1])
    if len(sides) != 2:
        return None
    if is_variable(sides[0]):
        return _interval(False, MINUS_INFINITY, sides[1], closed[0])
    return _interval(closed[0], sides[0], INFINITY, False) if is_variable(sides[1]) else None


def is_variable(side: Node) -> bool:
    return isinstance(side, Expression) and VARIABLE.fullmatch(side.text.strip()) is not None


def _interval(left_closed: bool, low: Node, high: Node, right_closed: bool) -> Collection:
    return Collection(BRACKETS[0][left_closed] + BRACKETS[1][right_closed], (low, high))


def merge_intervals(parts: tuple[Node, ...]) -> tuple[Node, ...]:
    """Parts that touch become one, where all ends are numbers; otherwise the parts as they are."""
    ends = [ends_of(part) for part in parts]
    if None in ends:
        return parts
    merged: list[list] = []
    for low, open_low, high, closed_high, part in sorted(ends, key=lambda e: e[:2]):
        if merged and (low, open_low) <= (merged[-1][2], merged[-1][3]):
            if (high, closed_high) > (merged[-1][2], merged[-1][3]):
                merged[-1][2:] = [high, closed_high, part]
        else:
            merged.append([part, low, high, closed_high, part])
    return tuple(
        Collection(first.kind[0] + last.kind[1], (first.items[0], last.items[1])) for first, *_, last in merged
    )


def ends_of(part: Node) -> tuple | None:
    """(low, whether it is left out, high, whether it is within, part)."""
    if not isinstance(part, Collection) or part.kind not in ("()", "[)", "(]", "[]") or len(part.items) != 2:
        return None
    values = [value_of(item) for item in part.items]
    if None in values:
        return None
    return values[0], part.kind[0] == "(", values[1], part.kind[1] == "]", part


def value_of(item: Node) -> float | Fraction | None:
    if not isinstance(item, Expression):
        return None
    text = item.text.replace(" ", "")
    if text in ("\\infty", "-\\infty"):
        return float("inf") if text == "\\infty" else float("-inf")
    if (number := read_number(item.text)) is not None:
        return number.value
    match = IRRATIONAL.fullmatch(text)
    if match is None:
        return None
    root, size = (math.sqrt(int(match["root"])) if match["root"] else math.pi), int(match["times"] or 1)
    return (-1 if match["sign"] == "-" else 1) * size * root / int(match["by"] or match["over"] or 1)


def expand_plus_minus(node: Node) -> Node:
    """a \\pm b, alone or in a list or set, as its two values."""
    if isinstance(node, Expression) and PLUS_MINUS.search(node.text):
        return Collection("list", tuple(_both(node.text)))
    if isinstance(node, Collection) and node.kind in ("list", "set"):
        items = [expand_plus_minus(item) for item in node.items]
        if any(i.kind == "list" for i in items if isinstance(i, Collection)):
            flat = (i.items if isinstance(i, Collection) and i.kind == "list" else (i,) for i in items)
            return Collection(node.kind, tuple(item for part in flat for item in part))
    return node


def _both(text: str) -> list[Node]:
    signs = ({"pm": "+", "mp": "-"}, {"pm": "-", "mp": "+"})
    return [parse(re.sub(r"^\s*\+", "", PLUS_MINUS.sub(lambda m, s=s: s[m[1]] + " ", text))) for s in signs]
