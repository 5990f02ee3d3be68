"""``--marge.reward NAME`` -> OpenRLHF's ``reward_func``, in a file that ``--reward.remote_url`` can name.

OpenRLHF loads that file in the engines' processes, too, where its evaluation samples, and a path is all that it hands
to them. So the file says the name.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from openrlhf_marge.rewards.batch import responses_of
from openrlhf_marge.rewards.domains import REWARDS, domain_reward

FILE = """from openrlhf_marge.host.domain_rewards import reward_func_of
reward_func = reward_func_of({name!r})
"""


def reward_func_of(name: str) -> Callable[..., dict[str, Any]]:
    """OpenRLHF's reward function over the installed reward ``name``; ValueError when it cannot be loaded."""
    REWARDS.load(name)

    def reward_func(queries: Sequence[str], prompts: Sequence[str], labels: Sequence[str]) -> dict[str, Any]:
        """Rewards in [0, 1] of the responses without their prompts, float tensors of shape (B,)."""
        responses = responses_of(queries, prompts, labels)
        values = [domain_reward(name, text, str(label)) for text, label in zip(responses, labels, strict=True)]
        rewards = torch.tensor(values)
        return {"rewards": rewards, "scores": rewards, "extra_logs": {}}

    return reward_func


def write_reward_file(folder: str, name: str) -> str:
    """Write the file of the reward ``name`` into ``folder``/_marge; returns its absolute path."""
    path = Path(os.path.abspath(folder)) / "_marge" / f"reward_{re.sub(r'[^A-Za-z0-9_.-]', '_', name)}.py"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(FILE.format(name=name), encoding="utf-8")
    return str(path)
