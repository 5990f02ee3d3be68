"""The prompts of problems -> their questions."""

from __future__ import annotations

from collections.abc import Sequence

from openrlhf_marge.decoding import shared_start


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
