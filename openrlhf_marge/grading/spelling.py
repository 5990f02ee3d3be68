"""Compares answers in letters and words by their spelling."""

from __future__ import annotations

import re

PROSE = re.compile(r"[A-Za-z][A-Za-z' -]*[A-Za-z]")
WORD = re.compile(r"[A-Za-z]{3}|^[nN]o$")  # xy may be a product
SPACES = re.compile(r"\s+(?![0-9A-Za-z])|(?<![0-9A-Za-z\\])\s+|(?<=[A-Za-z0-9])\s+(?=[^0-9A-Za-z])")
LEADING = re.compile(r"^[ .]+(?!\d)")  # .5 is no 5
BASED = re.compile(r"[0-9A-Fa-f]+_\{?\d+\}?")  # 1001_2


def spelling(text: str) -> str:
    """A cleaned answer without the spaces and, in prose, the case that do not matter."""
    plain = re.sub(r"_\{(\w)\}", r"_\1", bare(SPACES.sub("", text)))
    return plain.casefold() if PROSE.fullmatch(plain) and WORD.search(plain) else plain


def bare(text: str) -> str:
    """Without the marks of text."""
    return LEADING.sub("", re.sub(r"[⟦⟧]", "", text).rstrip(" ."))


def is_words(text: str) -> bool:
    """Words and numerals of another base, which are equal by spelling only."""
    is_prose = PROSE.fullmatch(text) is not None and WORD.search(text) is not None
    return is_prose or "⟦" in text or BASED.fullmatch(text) is not None or bare(text) == "\\emptyset"


def same_letters(a: str, g: str) -> bool:
    """xyz and zxy are one product; longer ones are words."""
    return 2 < len(a) < 5 and a.isalpha() and a.isascii() and sorted(a) == sorted(g)
