"""A cleaned answer as lists, tuples, intervals, sets, matrices and relations of plain expressions."""

from __future__ import annotations

import re
from dataclasses import dataclass

MAX_DEPTH = 8
OPENING, CLOSING = "([{", ")]}"
OPERATORS = re.compile(r"\\le(?![A-Za-z])|\\ge(?![A-Za-z])|\\ne(?![A-Za-z])|\\in(?![A-Za-z])|[<>=]")
MATRIX = re.compile(
    r"[(\[]?\s*\\begin\{([pbB]?matrix|smallmatrix|array)\}(?:\s*\{[clr| ]*\})?(.*)\\end\{\1\}\s*[)\]]?", re.DOTALL
)
POINT_NAME = re.compile(r"^[A-Z](?=\([^()]*,[^()]*\)$)")


@dataclass(frozen=True, slots=True)
class Expression:
    """Anything without further structure."""

    text: str


@dataclass(frozen=True, slots=True)
class Collection:
    """``kind``: "list" (bare, in any order), "set" (in braces, any order), "union" of parts, "difference" of two, or
    the two brackets of a tuple or interval, such as "(]"."""

    kind: str
    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Relation:
    """``sides`` has one more item than ``operators``: a < x < b has three sides."""

    operators: tuple[str, ...]
    sides: tuple[Node, ...]
    text: str


@dataclass(frozen=True, slots=True)
class Matrix:
    """All rows of the same length."""

    rows: tuple[tuple[Node, ...], ...]


Node = Expression | Collection | Relation | Matrix


def parse(text: str, depth: int = 0) -> Node:
    """The structure of a cleaned answer; what is nested too deeply, or unbalanced, stays an expression."""
    text = text.strip()
    if depth > MAX_DEPTH:
        return Expression(text)
    for reader in (_matrix, _or, _list, _relation, _union, _difference, _bracketed):
        if (node := reader(text, depth + 1)) is not None:
            return node
    return Expression(text)


def split_top(text: str, separators: re.Pattern) -> list[str] | None:
    """``text`` cut at separators outside all brackets; None when the brackets do not match."""
    parts, depth, start, i = [], 0, 0, 0
    while i < len(text):
        if text.startswith(("\\begin", "\\end"), i):
            depth += 1 if text.startswith("\\begin", i) else -1
        if depth == 0 and (match := separators.match(text, i)) and match.end() > i:
            parts.append(text[start:i])
            i = start = match.end()
            continue
        char = text[i + 1] if text[i] == "\\" and i + 1 < len(text) and text[i + 1] in "{}" else text[i]
        i += 2 if text[i] == "\\" and i + 1 < len(text) else 1
        # A half-open interval closes with either bracket, so only the nesting is counted.
        depth += (char in OPENING) - (char in CLOSING)
        if depth < 0:
            return None
    return None if depth else [*parts, text[start:]]


def _matrix(text: str, depth: int) -> Node | None:
    match = MATRIX.fullmatch(text)
    if match is None or "\\begin" in match[2]:
        return None
    lines = [line for line in match[2].split("\\\\") if line.strip()]
    rows = tuple(tuple(parse(cell, depth) for cell in line.split("&")) for line in lines)
    if [len(row) for row in rows] == [1]:
        return rows[0][0]
    return Matrix(rows) if rows and len({len(row) for row in rows}) == 1 else None


COMMA = re.compile(r"[,;]")
OR = re.compile(r"\\lor(?![A-Za-z])")


def _or(text: str, depth: int) -> Collection | None:
    """x < 1 or x > 3."""
    parts = split_top(text, OR) if "\\lor" in text else None
    if parts is None or len(parts) < 2 or not all(part.strip() for part in parts):
        return None
    return Collection("union", tuple(parse(part, depth) for part in parts))


def _list(text: str, depth: int) -> Collection | None:
    parts = split_top(text, COMMA)
    parts = [part for part in parts or [] if part.strip()]
    if len(parts) < 2:
        return None
    return Collection("list", tuple(parse(part, depth) for part in parts))


def _relation(text: str, depth: int) -> Relation | None:
    sides = split_top(text, OPERATORS)
    if sides is None or len(sides) < 2 or not all(side.strip() for side in sides):
        return None
    operators, end = [], 0
    for side in sides[:-1]:
        end += len(side)
        operator = OPERATORS.match(text, end)
        operators.append(operator[0])
        end = operator.end()
    return Relation(tuple(operators), tuple(parse(side, depth) for side in sides), text)


CUP = re.compile(r"\\cup(?![A-Za-z])|\bU\b")
SETMINUS = re.compile(r"\\setminus(?![A-Za-z])")


def _union(text: str, depth: int) -> Collection | None:
    parts = split_top(text, CUP)
    if parts is None or len(parts) < 2:
        return None
    return Collection("union", tuple(parse(part, depth) for part in parts))


def _difference(text: str, depth: int) -> Collection | None:
    parts = split_top(text, SETMINUS) if "\\setminus" in text else None
    if parts is None or len(parts) != 2:
        return None
    return Collection("difference", tuple(parse(part, depth) for part in parts))


def _bracketed(text: str, depth: int) -> Node | None:
    text = POINT_NAME.sub("", text)
    is_set = text.startswith("\\{") and text.endswith("\\}")
    inner = text[2:-2] if is_set else text[1:-1]
    brackets = text[:1] + text[-1:]
    if (not is_set and not (brackets[:1] in tuple("([{") and brackets[1:] in tuple(")]}"))) or len(text) < 3:
        return None
    parts = split_top(inner, COMMA)
    if parts is None or not all(part.strip() for part in parts):
        return None
    items = tuple(parse(part, depth) for part in parts)
    if is_set:
        return Collection("set", items)
    if brackets == "{}":
        return parse(inner, depth)
    return Collection(brackets, items) if len(items) > 1 else items[0]
