"""OpenRLHF's ``reward_func`` over the package's grader, for ``--reward.remote_url``; MARGE's default."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from openrlhf_marge.grading import grade, response_of


def reward_func(queries: Sequence[str], prompts: Sequence[str], labels: Sequence[str]) -> dict[str, Any]:
    """1.0 for every response whose final answer equals the label, else 0.0; shapes (B,).

    ``queries`` hold prompt and response; only the response is graded, never an answer that stands in the prompt.
    """
    grades = [
        grade(response_of(query, prompt), str(label))
        for query, prompt, label in zip(queries, prompts, labels, strict=True)
    ]
    rewards = torch.tensor([float(g.correct) for g in grades])
    no_answer = torch.tensor([float(g.reason == "no_answer") for g in grades])
    return {"rewards": rewards, "scores": rewards, "extra_logs": {"no_answer": no_answer}}
