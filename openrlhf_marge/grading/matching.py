"""Compares two structures item by item."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from openrlhf_marge.grading.intervals import as_interval, expand_plus_minus, merge_intervals
from openrlhf_marge.grading.numbers import read_number, same_number
from openrlhf_marge.grading.ratios import as_ratios
from openrlhf_marge.grading.regions import is_region, same_regions
from openrlhf_marge.grading.relations import (
    is_assignment,
    is_name,
    is_number,
    is_plain,
    may_be_the_same,
    same_names,
    upwards,
)
from openrlhf_marge.grading.spelling import is_words, same_letters, spelling
from openrlhf_marge.grading.structure import Collection, Matrix, Node, Relation

Symbolic = Callable[[str, str], bool]
MAX_ITEMS = 64  # of a list: matching is quadratic


class Matching:
    """Recursion over two structures."""

    def __init__(self, symbolic: Symbolic) -> None:
        self._symbolic = symbolic

    def equal(self, a: Node, g: Node) -> bool:
        """Dispatch by what the gold answer is."""
        a, g = expand_plus_minus(a), expand_plus_minus(g)
        if (is_region(a) or is_region(g)) and (regions := same_regions(a, g)) is not None:
            return self._in_any_order(*regions)
        if (named := same_names(a, g)) is not None:
            return self._in_order(*named)
        if isinstance(g, Relation) or isinstance(a, Relation):
            return self._relations(a, g)
        if isinstance(g, Matrix) or isinstance(a, Matrix):
            return self._matrices(a, g)
        if isinstance(g, Collection) or isinstance(a, Collection):
            return self._collections(a, g)
        return self._expressions(a.text, g.text)

    def _expressions(self, a: str, g: str) -> bool:
        if spelling(a) == spelling(g) or same_letters(a, g):
            return True
        if (ratios := as_ratios(a, g)) is not None:
            return self._proportional(*ratios)
        numbers = read_number(a), read_number(g)
        if None not in numbers:
            return same_number(*numbers)
        if is_words(a) or is_words(g):
            return False
        return self._symbolic(a, g)

    def _proportional(self, a: list[str], g: list[str]) -> bool:
        """2:3 and 4:6, term by term against the first."""
        if len(a) != len(g):
            return False
        return all(
            self._expressions(rf"\frac{{{x}}}{{{a[0]}}}", rf"\frac{{{y}}}{{{g[0]}}}")
            for x, y in zip(a[1:], g[1:], strict=True)
        )

    def _matrices(self, a: Node, g: Node) -> bool:
        rows = [node.rows if isinstance(node, Matrix) else _as_rows(node) for node in (a, g)]
        if None in rows:
            return False
        if any(isinstance(node, Collection) for node in (a, g)):  # a vector may stand or lie
            rows = [(tuple(item for row in r for item in row),) if 1 in (len(r), len(r[0])) else r for r in rows]
        same_shape = [len(row) for row in rows[0]] == [len(row) for row in rows[1]]
        return same_shape and all(
            self.equal(x, y) for ra, rg in zip(*rows, strict=True) for x, y in zip(ra, rg, strict=True)
        )

    def _collections(self, a: Node, g: Node) -> bool:
        if {kind(a), kind(g)} & {"union"}:
            return self._unions(a, g)
        if kind(a) == kind(g) and kind(a) not in ("list", "set"):
            return self._in_order(a.items, g.items)
        if {kind(a), kind(g)} <= {"list", "set"}:
            return self._in_any_order(a.items, g.items)
        if {kind(a), kind(g)} == {"list", "()"}:
            return self._in_order(a.items, g.items)
        if kind(a) == "list" and kind(g) == "expression":  # 3/4 or 0.75
            return all(kind(item) == "expression" and self.equal(item, g) for item in a.items)
        return False

    def _in_order(self, a: tuple[Node, ...], g: tuple[Node, ...]) -> bool:
        return len(a) == len(g) and all(self.equal(x, y) for x, y in zip(a, g, strict=True))

    def _in_any_order(self, a: tuple[Node, ...], g: tuple[Node, ...]) -> bool:
        if len(a) != len(g):
            a, g = _distinct(a), _distinct(g)  # what is said twice
        if len(a) != len(g) or len(a) > MAX_ITEMS:
            return False
        left = list(a)
        for wanted in g:
            same = [item for item in left if item == wanted]
            found = next((item for item in same or left if self.equal(item, wanted)), None)
            if found is None:
                return False
            left.remove(found)
        return True

    def _unions(self, a: Node, g: Node) -> bool:
        parts = [_parts(node) for node in (a, g)]
        if all(kind(part) == "set" for side in parts for part in side):
            return self._in_any_order(*(_distinct(item for part in side for item in part.items) for side in parts))
        return self._in_any_order(*(merge_intervals(side) for side in parts))

    def _relations(self, a: Node, g: Node) -> bool:
        if isinstance(a, Relation) and isinstance(g, Relation):
            return self._two_relations(a, g)
        if isinstance(a, Relation):
            if is_assignment(a):
                holds = not is_number(a.sides[0]) or self._safely_in_order(a.sides[:1], a.sides[-1:])  # 1/2 = 0.5
                return holds and self.equal(a.sides[-1], g)
            interval = as_interval(upwards(a))
            # (1,4) may be a point; what reaches to infinity, or has an end, is an interval.
            is_interval = kind(g) != "()" or "infty" in str(g)
            return is_interval and interval is not None and self.equal(interval, g)
        if is_assignment(g):
            return is_name(g.sides[0]) and self.equal(a, g.sides[-1])
        return (
            kind(a) not in ("expression", "list") and (i := as_interval(upwards(g))) is not None and self.equal(a, i)
        )

    def _two_relations(self, a: Relation, g: Relation) -> bool:
        if a.operators != g.operators and ("\\in",) in (a.operators, g.operators):
            intervals = [as_interval(upwards(x)) for x in (a, g)]
            if any(intervals):  # (1,2) that something lies in is no point
                sides = [i or x.sides[-1] for i, x in zip(intervals, (a, g), strict=True)]
                return self.equal(*sides)
            return self.equal(*(x.sides[-1] if x.operators == ("\\in",) else x for x in (a, g)))
        a, g = upwards(a), upwards(g)
        if a.operators == g.operators and self._safely_in_order(a.sides, g.sides):
            return True
        if a.operators == g.operators == ("=",) and is_name(a.sides[0]) and is_name(g.sides[0]):
            return may_be_the_same(a.sides[0], g.sides[0]) and self.equal(a.sides[1], g.sides[1])
        if len(a.operators) != len(g.operators) or sorted(a.operators) != sorted(g.operators):
            return False
        if "\\in" in a.operators:
            return self.equal(a.sides[-1], g.sides[-1])
        return len(a.operators) == 1 and all(map(is_plain, (a, g))) and self._symbolic(a.text, g.text)

    def _safely_in_order(self, a: tuple[Node, ...], g: tuple[Node, ...]) -> bool:
        """Side by side; what cannot be read alone may still be read as a whole."""
        try:
            return self._in_order(a, g)
        except ValueError:
            return False


def kind(node: Node) -> str:
    return node.kind if isinstance(node, Collection) else type(node).__name__.lower()


def _as_rows(node: Node) -> tuple[tuple[Node, ...], ...] | None:
    return (node.items,) if kind(node) in ("()", "[]") else None


def _distinct(items: Iterable[Node]) -> tuple[Node, ...]:
    return tuple(dict.fromkeys(items))


def _parts(node: Node) -> tuple[Node, ...]:
    """Parts of a union; inequalities between "or" are a union, too."""
    items = node.items if kind(node) in ("union", "list") else (node,)
    intervals = [as_interval(upwards(item)) if isinstance(item, Relation) else item for item in items]
    return tuple(items) if None in intervals else tuple(intervals)
