"""Ends the run where experiences are not finite, and names the first such value and where to look.

Loss and gradients are checked where they arise, in OpenRLHF's strategy (patch 0006).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from openrlhf.trainer.ppo_utils.experience import Experience

# Fields of an experience in the order in which they arise: what they are called, and where to look.
CHECKED = {
    "rewards": ("rewards", "the reward function, --reward.remote_url"),
    "rollout_log_probs": ("engine's log-probs", "the weights that the engines got, and --ds.param_dtype"),
    "action_log_probs": ("policy's log-probs", "its weights, the learning rate and --ds.param_dtype"),
    "base_action_log_probs": ("reference's log-probs", "the weights of the reference model"),
    "kl": ("KL terms", "the weights of the reference model"),
    "advantages": ("advantages", "the rewards and --algo.kl.init_coef"),
}


def require_finite(experiences: Sequence[Experience], step: int, ranks: Mapping[str, int]) -> None:
    """FloatingPointError that names step, sample, and the rank and micro-batch that computed the value.

    ``experiences`` are micro-batches, which ``ranks[field]`` ranks computed in equal runs; other fields have no rank.
    """
    for field, (name, look_at) in CHECKED.items():
        for number, experience in enumerate(experiences):
            values = experience.info.get(field) if field == "kl" else getattr(experience, field)
            if values is None or torch.isfinite(values).all():
                continue
            bad = [not row.isfinite().all() for row in values]
            place = _place(number, len(experiences), ranks[field]) if field in ranks else ""
            raise FloatingPointError(
                f"step {step}: the {name} of sample {experience.index[bad.index(True)]} are not finite{place} "
                f"({sum(bad)} of {len(bad)} samples of the micro-batch); look at {look_at}"
            )


def _place(number: int, count: int, ranks: int) -> str:
    per_rank = math.ceil(count / ranks)
    return f" on rank {number // per_rank}, micro-batch {number % per_rank + 1}"
