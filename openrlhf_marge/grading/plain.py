r"""Plain notation as LaTeX: ``sqrt(2)``, ``2pi``, ``exp(x)``, ``x^(1/2)``; what stands in text marks is left alone."""

from __future__ import annotations

import itertools
import re

MAX_BRACKETS = 64
TEXT = re.compile(r"(⟦[^⟦⟧]*⟧)")
NAME = re.compile(
    r"(?<![A-Za-z\\])(?:(arcsin|arccos|arctan|sinh|cosh|tanh|sin|cos|tan|cot|csc|ln|log|lg|exp|(?:sec|max|min|gcd|lcm)(?=\s*\())"
    r"(?![A-Za-z])|(sqrt|pi|theta|alpha|beta|gamma|lambda|infinity|infty|inf)(?![A-Za-z]))(?!')"
)
ROOT = re.compile(r"\\sqrt\s*(\[[^\[\]]*\]\s*)?\(")
EXPONENT = re.compile(r"\^\s*\(")


def plain_notation(text: str) -> str:
    parts = TEXT.split(text)
    return "".join(part if part.startswith("⟦") else _formula(part) for part in parts)


def _formula(text: str) -> str:
    if any(c.isalpha() for c in text):
        text = NAME.sub(lambda m: f"\\{_latex(m[0])} ", text)
    text = _braces(text, ROOT)
    return _braces(text, EXPONENT)


def _latex(name: str) -> str:
    return "infty" if name.startswith("inf") else name


def _braces(text: str, opening: re.Pattern) -> str:
    """The bracket at the end of each match, and the one that closes it, as braces."""
    matches = list(itertools.islice(opening.finditer(text), MAX_BRACKETS + 1))
    for match in reversed(matches if len(matches) <= MAX_BRACKETS else []):
        depth, end = 1, match.end()
        while end < len(text) and depth:
            depth += (text[end] == "(") - (text[end] == ")")
            end += 1
        if not depth:
            text = f"{text[: match.end() - 1]}{{{text[match.end() : end - 1]}}}{text[end:]}"
    return text
