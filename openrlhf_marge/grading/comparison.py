"""Compares an answer with the gold answer, in order of cost: spelling, exact numbers, structure, symbols.

``symbolic`` decides about two plain expressions or relations; it may raise what the pool raises. The order of the two
matters where a gold answer asks for more: a gold interval is not answered by a tuple.
"""

from __future__ import annotations

import re

from openrlhf_marge.grading.choices import chosen, label_and_value, letter_of, letters
from openrlhf_marge.grading.errors import Unparsable
from openrlhf_marge.grading.latex import clean, marked, tidy, with_grouped_thousands
from openrlhf_marge.grading.matching import Matching, Symbolic
from openrlhf_marge.grading.numbers import read_number, same_number
from openrlhf_marge.grading.quantities import agree
from openrlhf_marge.grading.spelling import is_words, spelling
from openrlhf_marge.grading.statements import stated_in_text, with_unit
from openrlhf_marge.grading.structure import Collection, Expression, Node, Relation, parse
from openrlhf_marge.grading.units import without_units

MAX_CHARS = 20_000
APPROXIMATELY = re.compile(r"\\(?:approx|simeq|thickapprox)(?![A-Za-z])|≈")
DECIMAL = re.compile(r"(-?)(\d*)\.(\d{1,12})%?")


def equal(answer: str, gold: str, symbolic: Symbolic) -> bool:
    """Compare two answers as they were extracted."""
    if answer.strip() == gold.strip():
        return True  # of whatever length
    if max(len(answer), len(gold)) > MAX_CHARS:
        return False
    if (sides := _approximated(answer, symbolic)) is not None:
        return any(equal(side, gold, symbolic) for side in sides)
    a, g = stated_in_text(answer), stated_in_text(gold)
    if spelling(a) != spelling(g) and (with_unit(g) != g or not any(c.isalpha() for c in g)):
        a, g = with_unit(a), with_unit(g)
    a, g = marked(a), marked(g)
    said = agree(a, g, lambda x, y: _equal(_value(x), _value(y), symbolic))
    return _equal(_value(a), _value(g), symbolic) if said is None else said


def _approximated(answer: str, symbolic: Symbolic) -> list[str] | None:
    r"""Both sides of ``2\sqrt{3} \approx 3.46``; None unless the decimals are those of the other side."""
    sides = APPROXIMATELY.split(answer)
    if len(sides) != 2 or (decimal := DECIMAL.fullmatch(clean(sides[1]))) is None:
        return None
    value = clean(sides[0]).rpartition("=")[2].strip().removesuffix("%")
    number = read_number(value)
    if not value or (number is not None and (number.rounded or number.value.denominator == 1)):
        return None
    shifted, power = str(int(decimal[1] + decimal[2] + decimal[3])), f"10^{{{len(decimal[3])}}}"
    try:
        is_its_own = any(
            symbolic(rf"\lfloor ({value}) \cdot {power}{up} \rfloor", shifted) for up in (r"+\frac{1}{2}", "")
        )
    except Unparsable:
        return None
    return sides if is_its_own else None


def _value(text: str) -> str:
    return tidy(without_units(text))


def _equal(a: str, g: str, symbolic: Symbolic) -> bool:
    if spelling(a) == spelling(g):
        return True
    if (number := read_number(g)) is not None and (other := read_number(a)) is not None:
        # Both may be lists of numbers with three digits, and be the same in another order.
        return same_number(other, number) or ("," in a and "," in g and _same_structure(a, g, symbolic))
    if (choice := chosen(g)) or (letters(g) and letters(a)):
        labelled = label_and_value(g), label_and_value(a)
        if labelled[0] and not labelled[1] and not (picked := letters(a) or letter_of(a)):
            return _equal(a, labelled[0][1], symbolic)  # the value alone
        picked = letters(a) or letter_of(a)
        return picked is not None and picked == (letters(g) or choice)
    if labelled := label_and_value(a):
        return _equal(labelled[1], g, symbolic)
    if (grouped := with_grouped_thousands(a, g)) is not None:
        a, g = grouped
    return _same_structure(a, g, symbolic)


def _same_structure(a: str, g: str, symbolic: Symbolic) -> bool:
    return Matching(symbolic).equal(_alone(parse(a)), _alone(parse(g)))


def _alone(node: Node) -> Node:
    """A set of one is its element; a set of the empty set is not the empty set."""
    is_single = isinstance(node, Collection) and node.kind == "set" and len(node.items) == 1
    return node.items[0] if is_single and "empty" not in str(node) else node


def check_readable(gold: str, symbolic: Symbolic) -> None:
    """Unparsable when a right answer in another spelling could not be told from a wrong one."""
    if len(gold) > MAX_CHARS:
        raise Unparsable(f"{len(gold)} characters, at most {MAX_CHARS}")
    text = clean(gold)
    if not any(character.isalnum() for character in text):
        raise Unparsable(f"no letter and no number in {gold!r}")
    if not chosen(text):
        for leaf in _leaves(parse(text)):
            if read_number(leaf) is None and not is_words(leaf):
                symbolic(leaf, leaf)


def _leaves(node: Node) -> list[str]:
    if isinstance(node, Expression):
        return [node.text]
    parts = node.items if isinstance(node, Collection) else node.sides if isinstance(node, Relation) else None
    cells = parts if parts is not None else [cell for row in node.rows for cell in row]
    return [leaf for cell in cells for leaf in _leaves(cell)]
