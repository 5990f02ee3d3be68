"""Whether an answer equals the gold answer, in order of cost: spelling, exact numbers, structure, symbols.

``symbolic`` decides about two plain expressions or relations; it may raise what the pool raises. The order of the two
matters where a gold answer asks for more: a gold interval is not answered by a tuple.
"""

from __future__ import annotations

import re

from openrlhf_marge.grading.errors import Unparsable
from openrlhf_marge.grading.latex import clean
from openrlhf_marge.grading.matching import Matching, Symbolic
from openrlhf_marge.grading.numbers import read_number, same_number
from openrlhf_marge.grading.spelling import bare, is_words, spelling
from openrlhf_marge.grading.structure import Collection, Expression, Node, Relation, parse

MAX_CHARS = 20_000
CHOICE = re.compile(r"\(?\s*([A-J])\s*\)?")
# The letter alone, or set apart from what follows it, as in "(D) 24"; no second letter.
CHOICE_FIRST = re.compile(
    r"⟦?\s*(?:(?:option|choice|answer)\s+)?⟦?(?:([A-J])\s*⟧?\s*|\(⟦?([A-J])⟧?\)⟧?.*|([A-J])⟧?[.:)](?!\d).*)",
    re.DOTALL | re.IGNORECASE,
)
OTHER_LETTER = re.compile(r"(?<![A-Za-z])[A-J](?![A-Za-z])")


def equal(answer: str, gold: str, symbolic: Symbolic) -> bool:
    """Compare two answers as they were extracted."""
    if answer.strip() == gold.strip():
        return True  # of whatever length
    if max(len(answer), len(gold)) > MAX_CHARS:
        return False
    a, g = clean(answer), clean(gold)
    if spelling(a) == spelling(g):
        return True
    if (number := read_number(g)) is not None and (other := read_number(a)) is not None:
        # Both may be lists of numbers with three digits, and be the same in another order.
        return same_number(other, number) or ("," in a and "," in g and _same_structure(a, g, symbolic))
    if choice := chosen(g):
        return (picked := _letter(a)) is not None and picked.upper() == choice
    return _same_structure(a, g, symbolic)


def _same_structure(a: str, g: str, symbolic: Symbolic) -> bool:
    return Matching(symbolic).equal(_alone(parse(a)), _alone(parse(g)))


def _alone(node: Node) -> Node:
    """A set of one is its element; a set of the empty set is not the empty set."""
    is_single = isinstance(node, Collection) and node.kind == "set" and len(node.items) == 1
    return node.items[0] if is_single and "empty" not in str(node) else node


def chosen(gold: str) -> str | None:
    """The letter of a cleaned gold answer that is a choice among several."""
    match = CHOICE.fullmatch(bare(gold))
    letter = match[1] if match else _letter(gold) if "⟦" in gold else None
    return letter if letter and letter.isupper() else None


def _letter(text: str) -> str | None:
    match = CHOICE_FIRST.fullmatch(text)
    return match[match.lastindex] if match and len(OTHER_LETTER.findall(text)) < 2 else None


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
