"""Tells what the sides of an equation or inequality are: names, numbers, plain expressions."""

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


def same_names(a: Node, g: Node) -> tuple[tuple[Node, ...], tuple[Node, ...]] | None:
    """The values of named coordinates in one order: (y,x)=(2,1), x=1,y=2 and, where only one is named, (1,2).

    None unless both are such; of different names there are no equal values.
    """
    named = [_named(node) for node in (a, g)]
    if not any(named):
        return None
    if all(named):
        return (
            tuple(tuple(names[name] for name in sorted(names)) for names in named)
            if set(named[0]) == set(named[1])
            else None
        )
    plain = g if named[0] else a
    if not (isinstance(plain, Collection) and plain.kind == "()"):
        return None
    ordered = [tuple(names[name] for name in sorted(names)) if names else plain.items for names in named]
    return ordered[0], ordered[1]


def _named(node: Node) -> dict[str, Node] | None:
    """Name -> value of equations for two or more letters."""
    if isinstance(node, Relation) and node.operators == ("=",):
        names, values = node.sides
        both = all(isinstance(side, Collection) and side.kind == "()" for side in node.sides)
        pairs = (
            list(zip(names.items, values.items, strict=False))
            if both and len(names.items) == len(values.items)
            else []
        )
    elif isinstance(node, Collection) and node.kind == "list":
        equations = [i for i in node.items if isinstance(i, Relation) and i.operators == ("=",)]
        pairs = [e.sides for e in equations] if len(equations) == len(node.items) else []
    else:
        return None
    found = {side.text.strip(): value for side, value in pairs if isinstance(side, Expression)}
    is_letters = all(re.fullmatch("[A-Za-z]", name) for name in found)
    return found if len(found) == len(pairs) > 1 and is_letters else None
