"""Says where the engines sample from another policy than the trained one: log-probs of the same tokens differ."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from openrlhf.trainer.ppo_utils.experience import Experience

from openrlhf_marge.host.rollout.experiences import WEIGHTS

DIFFERS = "marge/engine_differs"
AGE = "marge/age"
NOTICED = 0.1  # nats, several times what bfloat16 rounds log-probs by
MOST = 0.2


def compare_policies(experiences: Sequence[Experience], top_p: float) -> float | None:
    """Share of the sampled tokens whose log-probs of engine and policy differ by more than ``NOTICED`` nats.

    Each experience's ``info`` gets it for each of its samples, (B,), as ``DIFFERS``, and as ``AGE`` how many
    updates of the weights later than it the newest sample is from; older ones, which waited to fill a batch, are not
    compared. None where the engines returned no log-probs. An engine makes those of the tokens in ``top_p`` up to
    -log(top_p) larger. Where its own are 0, a token was sure, or is one of the guidance, which it did not sample:
    these are not compared either.
    """
    all_differ = all_compared = 0.0
    newest = max(int(e.info[WEIGHTS].max()) for e in experiences)
    for experience in experiences:
        age = newest - experience.info.pop(WEIGHTS)
        experience.info[AGE] = age.float()
        if experience.rollout_log_probs is None:
            continue
        compared = experience.action_mask.bool() & (experience.rollout_log_probs != 0) & (age == 0).unsqueeze(-1)
        distance = (experience.rollout_log_probs - experience.action_log_probs).abs()
        differ = (compared & (distance > NOTICED - math.log(top_p))).sum()
        all_differ += float(differ.sum())
        all_compared += float(compared.sum())
    if not all_compared:
        return None
    share = all_differ / all_compared
    for experience in experiences:  # OpenRLHF logs the mean over samples, some of which are not compared
        experience.info[DIFFERS] = torch.full_like(experience.info[AGE], share)
    return share


def other_policy(share: float | None, step: int) -> str | None:
    """A sentence where engines and trainer must have different weights; None where rounding explains it."""
    if share is None or share <= MOST:
        return None
    return (
        f"In global step {step} the log-probs of engine and policy differ by more than {NOTICED:g} in {share:.0%} of "
        f"the sampled tokens (train/{DIFFERS}): the engines sample from another policy than is trained; look at how "
        "weights reach them (--vllm.sync_backend), at --ds.param_dtype, and at what vLLM makes of this model"
    )
