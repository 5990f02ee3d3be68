"""Ratios such as 2:3, their terms, and the fraction that a ratio of two is."""

from __future__ import annotations

import re

TERM = r"\s*(?:\d[\d.]*|\d*\s*\\sqrt\{\d+\}|\\frac\{\d+\}\{\d+\}|\d*\\?[a-z]+)\s*"
RATIO = re.compile(rf"{TERM}(?::{TERM})+")
CLOCK = re.compile(r":\s*0\d")  # 2:00 and 7:05 are no ratios
FRACTION = re.compile(r"\s*(?:\\frac\{(?P<top>[^{}]+)\}\{(?P<bottom>[^{}]+)\}|(?P<a>\d+)\s*/\s*(?P<b>\d+))\s*")


def as_ratios(a: str, g: str) -> tuple[list[str], list[str]] | None:
    """The terms of both, where one of them is a ratio and the other one, too, or a fraction."""
    if ":" not in a and ":" not in g:
        return None
    terms = [_terms(text) for text in (a, g)]
    return None if None in terms else (terms[0], terms[1])


def _terms(text: str) -> list[str] | None:
    if RATIO.fullmatch(text) and not CLOCK.search(text):
        return [term.strip() for term in text.split(":")]
    if match := FRACTION.fullmatch(text):
        return [match["top"] or match["a"], match["bottom"] or match["b"]]
    return None
