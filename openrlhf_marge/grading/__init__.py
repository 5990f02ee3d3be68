"""A math grader: final answer of a response against the gold answer, right, fast, and not to be hung or fooled.

extraction (boxes, phrases, statements, choices) -> spelling (latex, units, numbers) -> structure (matching,
regions) -> comparison -> symbols, the last in killable processes (pool).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

from openrlhf_marge.grading.boxes import boxed
from openrlhf_marge.grading.choices import chosen
from openrlhf_marge.grading.comparison import Symbolic, check_readable, equal
from openrlhf_marge.grading.errors import GradingFailed, GradingTimeout, Unparsable
from openrlhf_marge.grading.extraction import final_answer
from openrlhf_marge.grading.latex import clean
from openrlhf_marge.grading.phrases import after_phrase
from openrlhf_marge.grading.shared import shared_pool
from openrlhf_marge.grading.statements import read_statement

REASONS = ("correct", "wrong", "no_answer", "unparsable", "timeout", "error")
MAX_GOLD_CHARS = 200_000
MAX_CHOICE_CHARS = 200


@dataclass(frozen=True, slots=True)
class Grade:
    """Verdict on one response.

    ``reason`` is one of ``REASONS``; "unparsable" and "timeout" are wrong answers whose symbols could not be read, or
    not within the limit; "error" says that the grader itself failed.
    """

    correct: bool
    reason: str


def grade(response: str, gold: str, symbolic: Symbolic | None = None) -> Grade:
    """Compare the final answer of ``response`` with ``gold`` (a bare answer, or a solution ending in one).

    Never raises on any text, never runs any of it; GraderUnavailable where the grader itself cannot run. ``symbolic``
    decides what spelling and structure leave open; it is the process-wide pool of graders unless given, 5 s of CPU an
    answer.
    """
    wanted = gold_answer(gold)
    if not wanted.strip():
        return Grade(False, "unparsable")
    answer = answer_of(response, wanted)
    if answer is None:
        return Grade(False, "no_answer")
    return _verdict(lambda: equal(answer, wanted, symbolic or _pooled()))


def grade_gold(gold: str, symbolic: Symbolic | None = None) -> Grade:
    """Whether the grader can read a gold answer: correct, or unparsable, timeout or error as in ``grade``."""

    def readable() -> bool:
        check_readable(gold_answer(gold), symbolic or _pooled())
        return True

    return _verdict(readable)


def _pooled() -> Symbolic:
    pool = shared_pool()
    return functools.partial(pool.symbolically_equal, budget=pool.budget())


def _verdict(compare: Callable[[], bool]) -> Grade:
    try:
        correct = compare()
    except GradingTimeout:
        return Grade(False, "timeout")
    except GradingFailed:
        return Grade(False, "error")
    except Unparsable:
        return Grade(False, "unparsable")
    return Grade(correct, "correct" if correct else "wrong")


def gold_answer(gold: str) -> str:
    """What a gold label says: its box, what follows "####", a solution's "the answer is", or all of it."""
    if len(gold) > MAX_GOLD_CHARS:
        return gold
    if (answer := boxed(gold)) or "####" in gold:
        return answer or gold.rsplit("####", 1)[1].strip()
    said = after_phrase(gold) if "\n" in gold.strip() or ". " in gold else None
    return read_statement(said) if said else gold.strip()


def answer_of(response: str, wanted: str) -> str | None:
    """The final answer of a response, read as one to a problem whose gold answer says ``wanted``; None without one."""
    return final_answer(response, wants_choice=len(wanted) < MAX_CHOICE_CHARS and chosen(clean(wanted)) is not None)


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
