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
# Before anything but another letter, as in "(D) 24".
CHOICE_FIRST = re.compile(
    r"⟦?\s*(?:(?:option|choice|answer)\s+)?⟦?\(?⟦?([A-J])⟧?\)?⟧?(?:[.:)]|\s|$)"
    r"(?!.*(?<![A-Za-z])[A-J](?![A-Za-z])).*",
    re.DOTALL | re.IGNORECASE,
)


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
        return same_number(other, number)
    if choice := chosen(g):
        picked = CHOICE_FIRST.fullmatch(a)
        return picked is not None and picked[1].upper() == choice
    return Matching(symbolic).equal(_alone(parse(a)), _alone(parse(g)))


def _alone(node: Node) -> Node:
    """A set of one is its element; a set of the empty set is not the empty set."""
    is_single = isinstance(node, Collection) and node.kind == "set" and len(node.items) == 1
    return node.items[0] if is_single and "empty" not in str(node) else node


def chosen(gold: str) -> str | None:
    """The letter of a cleaned gold answer that is a choice among several."""
    match = CHOICE.fullmatch(bare(gold)) or ("⟦" in gold and CHOICE_FIRST.fullmatch(gold))
    return match[1] if match and match[1].isupper() else None


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
