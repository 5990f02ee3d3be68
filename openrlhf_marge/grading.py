"""text -> final answer -> verdict: exact strings and exact numbers.

Deliberately absent: symbolic equality, units, sets and intervals.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

MAX_DIGITS = 100  # longer numbers are compared as text: converting them costs quadratic time
NUMBER = re.compile(r"([+-]?)(\d+(?:\.\d*)?|\.\d+)(?:/(\d+))?")
FRACTION = re.compile(r"([+-]?)\\[dt]?frac\{([^{}]+)\}\{([^{}]+)\}")
PHRASE = re.compile(r"(?:final answer|answer)\s*(?:is|:|=)+\s*:?\s*([^\n]+)", re.IGNORECASE)
SPECIAL = re.compile(r"<\|[^|<>]*\|>|</?s>")  # special tokens that end a decoded response
NOISE = re.compile(r"\\(?:left|right|,|;|!| )|\$|\\%|%|\s|\\text\{[^{}]*\}|\\mathrm\{[^{}]*\}")


@dataclass(frozen=True, slots=True)
class Grade:
    """Verdict on one response; ``reason`` is correct, wrong or no_answer."""

    correct: bool
    reason: str


def grade(response: str, gold: str) -> Grade:
    """Compare the final answer of ``response`` with ``gold`` (a bare answer, or a solution ending in one)."""
    answer = final_answer(response)
    if answer is None:
        return Grade(False, "no_answer")
    wanted = final_answer(gold)
    correct = normalise(answer) == normalise(gold if wanted is None else wanted)
    return Grade(correct, "correct" if correct else "wrong")


def final_answer(text: str) -> str | None:
    r"""The last ``\boxed{}`` with balanced braces, else what follows the last ``####`` or "answer is"."""
    text = SPECIAL.sub("", text)
    start = text.rfind("\\boxed{")
    if start >= 0:
        return balanced(text, start + len("\\boxed{"))
    if "####" in text:
        return text.rsplit("####", 1)[1].strip().split("\n")[0]
    found = PHRASE.findall(text)
    return found[-1].strip().rstrip(".") if found else None


def balanced(text: str, start: int) -> str | None:
    """``text`` from ``start`` up to the brace that closes the one before ``start``; None when it never closes."""
    depth = 1
    for i in range(start, len(text)):
        depth += {"{": 1, "}": -1}.get(text[i], 0)
        if depth == 0:
            return text[start:i]
    return None


def normalise(answer: str) -> str | Fraction:
    """An exact number where the answer is one, otherwise its text without spaces and decoration."""
    text = NOISE.sub("", answer).rstrip(".")
    text = FRACTION.sub(r"\1\2/\3", text)
    plain = re.sub(r"(?<=\d),(?=\d{3}(?:\D|$))", "", text)
    match = NUMBER.fullmatch(plain)
    if match is None or len(plain) > MAX_DIGITS:
        return text
    sign, number, denominator = match.groups()
    if denominator is not None and not int(denominator):
        return text
    return Fraction(sign + number) / Fraction(denominator or 1)


def response_of(query: str, prompt: str) -> str:
    """What follows the prompt in a decoded query.

    Decoding may have changed white space, so the prompt is matched without it. ValueError when the query does not
    start with the prompt: grading the whole text could find an answer that stands in the prompt.
    """
    if query.startswith(prompt):
        return query[len(prompt) :]
    rest = iter(enumerate(query, start=1))
    end = 0
    for char in "".join(prompt.split()):
        end, found = next(((i, c) for i, c in rest if not c.isspace()), (end, None))
        if found != char:
            raise ValueError("the text to grade does not start with its prompt")
    return query[end:]
