"""What the sides of an equation or inequality are: names, numbers, plain expressions."""

from __future__ import annotations

import re

from openrlhf_marge.grading.numbers import read_number
from openrlhf_marge.grading.spelling import spelling
from openrlhf_marge.grading.structure import Collection, Expression, Node, Relation

SUBSCRIPT_OR_ARGUMENTS = re.compile(r"_(?:\{\w+\}|\w)|\([^()]*\)")
NAME = re.compile(
    r"[A-Za-z]|[A-Z]{2,4}|[A-Za-z]{3,}|\\(?!sin|cos|tan|ln|log|sqrt|frac)[A-Za-z]+(?:\s*\{?\s*[A-Za-z]+\s*\}?)?|"
    r"[A-Z]{1,2}\s*:\s*[A-Z]{1,2}|\\frac\s*\{\s*[A-Z]{2}\s*\}\s*\{\s*[A-Z]{2}\s*\}|\|\s*[A-Z]{2}\s*\||⟦[^⟦⟧]*⟧"
)
FLIPPED = {">": "<", "\\ge": "\\le"}


def is_assignment(relation: Relation) -> bool:
    return set(relation.operators) <= {"=", "\\in"}


def is_name(side: Node) -> bool:
    """Whether an equation only gives its value a name: x, x_{1}, f(0), (x,y), AB, area, A:B, \\frac{NO}{BO}."""
    if isinstance(side, Collection):
        return all(is_name(item) for item in side.items)
    name = SUBSCRIPT_OR_ARGUMENTS.sub("", side.text).strip() if isinstance(side, Expression) else ""
    return NAME.fullmatch(name) is not None


def may_be_the_same(a: Node, g: Node) -> bool:
    """x_{1} and x may name the same, f(x) and y as well; x and y do not, nor (x,y) and (y,x)."""
    if isinstance(a, Collection) or isinstance(g, Collection):
        return str(a) == str(g)
    names = [spelling(SUBSCRIPT_OR_ARGUMENTS.sub("", side.text)) for side in (a, g)]
    return names[0] == names[1] or any("(" in side.text for side in (a, g))


def is_number(side: Node) -> bool:
    return isinstance(side, Expression) and read_number(side.text) is not None


def is_plain(relation: Relation) -> bool:
    return all(isinstance(side, Expression) for side in relation.sides)


def upwards(relation: Relation) -> Relation:
    """The sides of a > b as those of b < a, so that one direction is left."""
    if not set(relation.operators) <= set(FLIPPED):
        return relation
    operators = tuple(FLIPPED[o] for o in reversed(relation.operators))
    return Relation(operators, tuple(reversed(relation.sides)), relation.text)
