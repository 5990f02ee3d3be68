"""Answers that name units or nouns: contradicting units are wrong, others converted, labelled parts matched."""

from __future__ import annotations

import re
from collections.abc import Callable

from openrlhf_marge.grading.latex import without_thousands
from openrlhf_marge.grading.structure import COMMA, split_top
from openrlhf_marge.grading.units import quantity, read_unit

Same = Callable[[str, str], bool]
HALF_OF_DAY = re.compile(r"\d(?:[\s~⟦]|\\[,;:! ])*([ap])\.?\s?m(?![a-z])", re.IGNORECASE)  # ⟦: text, see latex.py
TIME = re.compile(r"(?<![\d:])0?(\d{1,2})\s*:\s*(\d\d)(?![\d:])")


def quantities(text: str) -> list[tuple[str, str]] | None:
    """(value, label) of every item; None unless each has a label."""
    items = split_top(without_thousands(text), COMMA)
    found = [quantity(item) for item in items or [] if item.strip()]
    return None if not found or None in found else found


def agree(answer: str, gold: str, same: Same) -> bool | None:
    """The verdict where both name units or nouns that matter; None where these say nothing.

    Both texts still have their units. A single noun that is no unit is never looked at: pupils may be students.
    """
    halves = [[half.casefold() for half in HALF_OF_DAY.findall(text)] for text in (answer, gold)]
    if any(halves) and TIME.search(gold) and TIME.findall(answer) != TIME.findall(gold):
        return False  # 4:20 p.m. and 2:10 p.m., which are no ratios
    if not (_may_have_labels(answer) and _may_have_labels(gold)):
        return None
    if len(halves[0]) == len(halves[1]) and halves[0] != halves[1]:
        return False  # 7:30 a.m. and 7:30 p.m.
    a, g = quantities(answer), quantities(gold)
    if a is None or g is None or len(a) != len(g):
        return None
    if len(a) == 1:
        return _one(a[0], g[0], same)
    labels = [[_noun(label) for _, label in side] for side in (a, g)]
    if len(set(labels[0])) == len(a) and set(labels[0]) == set(labels[1]):
        values = dict(zip(labels[0], (value for value, _ in a), strict=True))
        return all(same(values[_noun(label)], value) for value, label in g)
    units = [[read_unit(label) for _, label in side] for side in (a, g)]
    if None in units[0] + units[1] or len({u.factor for u in units[0] + units[1]}) == 1:
        return None
    return all(_one(x, y, same) for x, y in zip(a, g, strict=True))


def _may_have_labels(text: str) -> bool:
    return any(c.isalpha() or c in "＄€£¥¢" for c in text)


def _one(a: tuple[str, str], g: tuple[str, str], same: Same) -> bool | None:
    units = read_unit(a[1]), read_unit(g[1])
    if None in units:
        return None
    if units[0].contradicts(units[1]):
        return False
    factor = units[0].factor / units[1].factor
    if factor == 1 or bool(units[0].below) != bool(units[1].below):
        return same(a[0], g[0])
    return same(rf"\frac{{{factor.numerator}}}{{{factor.denominator}}} \cdot ({a[0]})", g[0])


def _noun(label: str) -> str:
    return label.casefold().strip().removesuffix("s")
