"""Token ids -> the texts of a visit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from openrlhf_marge.pairs.texts import WINDOW
from openrlhf_marge.types import TokenIds


class Decoder(Protocol):
    """A tokenizer that drops no special tokens."""

    def decode(self, ids: Sequence[TokenIds]) -> list[str]: ...


def added_texts(decoder: Decoder, spans: Sequence[tuple[TokenIds, TokenIds]]) -> list[str]:
    """For each (ids before, ids) the text that the second add to that of the first; all are decoded at once."""
    windows = [(before[-WINDOW:], before[-WINDOW:] + ids) for before, ids in spans]
    distinct = list(dict.fromkeys(ids for window in windows for ids in window))
    texts = dict(zip(distinct, decoder.decode(distinct), strict=True))
    return [added(texts[before], texts[both]) for before, both in windows]


def added(before: str, both: str) -> str:
    """What stands in ``both`` after ``before``, whose last character may be only half decoded."""
    return both[len(shared_start((before, both))) :]


def questions(prompts: Sequence[str]) -> list[str]:
    """The prompts without what all of them begin and end with, which is the chat template and instructions.

    Cut at ends of lines and of special tokens only. Whole where one is alone or nothing would be left.
    """
    different = list(dict.fromkeys(prompts))
    if len(different) < 2:
        return list(prompts)
    start = shared_start(different)
    end = shared_start([prompt[len(start) :][::-1] for prompt in different])[::-1]
    n_start = max(start.rfind("\n"), start.rfind(">")) + 1
    n_end = len(end) - min((i for i in map(end.find, "\n<") if i >= 0), default=len(end))
    return [prompt[n_start : len(prompt) - n_end].strip() or prompt for prompt in prompts]


def shared_start(texts: Sequence[str]) -> str:
    """What all of them begin with."""
    low, high = min(texts), max(texts)  # so it is what these two begin with
    return low[: next((i for i, (a, b) in enumerate(zip(low, high, strict=False)) if a != b), len(low))]
