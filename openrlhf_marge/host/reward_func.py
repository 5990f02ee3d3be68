"""OpenRLHF's ``reward_func`` over the package's grader, for ``--reward.remote_url``; MARGE's default.

An exception stops the run. MARGE's client raises it again; stock OpenRLHF logs it ("Failed to fetch reward from remote
RM: ...") and then fails on the missing reward.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from openrlhf_marge.grading.shared import shared_pool
from openrlhf_marge.rewards.batch import grade_batch
from openrlhf_marge.rewards.guard import process_guard

# Made here, so that a bad setting in the environment is found when the file is loaded; processes start later.
GUARD = process_guard()
shared_pool()


def reward_func(queries: Sequence[str], prompts: Sequence[str], labels: Sequence[str]) -> dict[str, Any]:
    """1.0 for every response whose final answer equals the label, else 0.0; all tensors float, of shape (B,).

    ``queries`` hold prompt and response; only the response is graded, never an answer that stands in the prompt.
    ``extra_logs``, whose means OpenRLHF logs, tell the reasons of failure. Raises as ``grade_batch``.
    """
    rewards, logs = grade_batch(queries, prompts, labels, GUARD)
    tensor = torch.tensor(rewards)
    return {"rewards": tensor, "scores": tensor, "extra_logs": {name: torch.tensor(v) for name, v in logs.items()}}
