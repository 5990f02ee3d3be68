"""Sets of real numbers as intervals: from inequalities with "and" and "or", x != a, unions and set differences."""

from __future__ import annotations

import re

from openrlhf_marge.grading.intervals import (
    INFINITY,
    MINUS_INFINITY,
    as_interval,
    ends_of,
    expand_plus_minus,
    is_variable,
    merge_intervals,
    value_of,
)
from openrlhf_marge.grading.relations import upwards
from openrlhf_marge.grading.structure import Collection, Node, Relation

Intervals = tuple[Node, ...]
LINE = Collection("()", (MINUS_INFINITY, INFINITY))
MAX_POINTS = 16
INTERVAL = ("()", "[)", "(]", "[]")


def is_region(node: Node) -> bool:
    """Whether a node can only be read as a set of numbers whose parts have to be put together first."""
    if isinstance(node, Relation):
        return "\\ne" in node.operators
    if not isinstance(node, Collection):
        return False
    relations = [item for item in node.items if isinstance(item, Relation)]
    bounds = [r for r in relations if set(r.operators) & {"<", ">", "\\le", "\\ge", "\\ne"}]
    if node.kind == "list":
        return bool(bounds) and len(bounds) == len(relations)
    return node.kind in ("union", "difference")


def same_regions(a: Node, g: Node) -> tuple[Intervals, Intervals] | None:
    """The intervals of both, joined where they touch; None where one of them is no region, empty: of two variables."""
    regions = [region(node) for node in (a, g)]
    if None in regions:
        return None
    names = [_variables(node) for node in (a, g)]
    if all(names) and names[0] != names[1]:
        return (), (LINE,)
    return tuple(merge_intervals(r) for r in regions)


def region(node: Node) -> Intervals | None:
    if isinstance(node, Relation):
        return _of_relation(upwards(node))
    if not isinstance(node, Collection):
        return None
    if node.kind in INTERVAL:
        return (node,) if len(node.items) == 2 else None
    if node.kind == "union":
        parts = [region(item) for item in node.items]
        return None if None in parts else tuple(i for part in parts for i in part)
    if node.kind == "difference":
        base, points = region(node.items[0]), _points(node.items[1])
        return None if base is None or points is None else _without(base, points)
    return _of_list(node.items) if node.kind == "list" else None


def _of_relation(relation: Relation) -> Intervals | None:
    if relation.operators == ("\\in",):
        return region(relation.sides[1])
    if relation.operators == ("\\ne",):
        names = [is_variable(side) for side in relation.sides]
        if sum(names) != 1:
            return None
        point = expand_plus_minus(relation.sides[names.index(True) ^ 1])
        return _without((LINE,), list(point.items) if isinstance(point, Collection) else [point])
    interval = as_interval(relation)
    return None if interval is None else (interval,)


def _points(node: Node) -> list[Node] | None:
    return list(node.items) if isinstance(node, Collection) and node.kind == "set" else None


def _of_list(items: tuple[Node, ...]) -> Intervals | None:
    """All conditions at once; but x < 1, x > 3 holds for no number and means either."""
    points = [item for item in items if not isinstance(item, Relation)]
    regions = [region(item) for item in items if isinstance(item, Relation)]
    if None in regions or (points and not (isinstance(items[0], Relation) and is_region(items[0]))):
        return None
    found = regions[0]
    for other in regions[1:]:
        both = [_overlap(x, y) for x in found for y in other]
        if None in both:
            return None
        found = tuple(i for i in both if i)
    if not found and len(regions) == 2:
        found = tuple(i for r in regions for i in r)
    return _without(found, points)


def _overlap(x: Node, y: Node) -> Node | tuple[()] | None:
    """The numbers in both, () for none; None where the ends cannot be ordered."""
    if LINE in (x, y):
        return y if x == LINE else x
    ends = ends_of(x), ends_of(y)
    if None in ends:
        return None
    low = max(ends, key=lambda e: (e[0], e[1]))
    high = min(ends, key=lambda e: (e[2], e[3]))
    if (low[0], low[1]) > (high[2], False) or (low[0] == high[2] and not high[3]):
        return ()
    return Collection(low[4].kind[0] + high[4].kind[1], (low[4].items[0], high[4].items[1]))


def _without(intervals: Intervals, points: list[Node]) -> Intervals | None:
    if len(points) > MAX_POINTS:
        return None
    found = list(intervals)
    for point in points:
        cut = [_cut(interval, point) for interval in found]
        if None in cut:
            return None
        found = [part for parts in cut for part in parts]
    return tuple(found)


def _cut(interval: Node, point: Node) -> Intervals | None:
    """An interval without one of its points; None where it is open on which side of an end the point lies."""
    low, high = interval.items
    parts = (Collection(interval.kind[0] + ")", (low, point)), Collection("(" + interval.kind[1], (point, high)))
    if interval == LINE:
        return parts
    ends, at = ends_of(interval), value_of(point)
    if ends is None or at is None:
        return None
    if at == ends[0]:
        return (Collection("(" + interval.kind[1], (low, high)),)
    if at == ends[2]:
        return (Collection(interval.kind[0] + ")", (low, high)),)
    return parts if ends[0] < at < ends[2] else (interval,)


def _variables(node: Node) -> frozenset[str]:
    if isinstance(node, Relation):
        return frozenset(re.sub(r"\s", "", side.text) for side in node.sides if is_variable(side))
    return frozenset().union(*map(_variables, node.items)) if isinstance(node, Collection) else frozenset()
