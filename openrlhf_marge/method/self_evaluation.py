"""The question by which the model judges a solution, whole or not, in place of graded completions (MCTS-DPO).

The model is asked within its response, after the solution, and shown no gold solution.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from openrlhf_marge.types import TokenIds

ASKED = (
    "\n\nQUESTION: Is the solution right so far?\nAnswer Choices: (A) incorrect (B) correct\n\nANSWER: The answer is ("
)
WRONG, RIGHT = "A", "B"


@dataclass(frozen=True, slots=True)
class Question:
    """What follows a solution, and the next token that says it is right."""

    ids: TokenIds
    option: int


def make_question(encode: Callable[[str], TokenIds]) -> Question:
    """The question in the tokens of a model; ValueError where its options are no two tokens after the same others."""
    (*asked, option), (*of_wrong, wrong) = (encode(ASKED + text) for text in (RIGHT, WRONG))
    if asked != of_wrong or option == wrong:
        raise ValueError(
            f"--marge.mcts_value self_evaluation reads the probability of {RIGHT!r} against {WRONG!r}, which the "
            "model's tokenizer does not tell apart by one token; leave it out"
        )
    return Question(tuple(asked), option)
