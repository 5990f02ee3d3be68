"""``--train.enable_ema``: the host's moving average of the policy, which no checkpoint holds."""

from __future__ import annotations

from typing import Any

import ray


def begin_at_policies(actor_model_group: Any) -> None:
    """Let the average of every actor begin at its policy; on a resume it would begin at the pretrained model.

    With the default ``--train.ema_beta`` 0.992 it looks back over some 125 optimizer steps, and has then forgotten it.
    """
    ray.get([actor.__ray_call__.remote(_begin) for actor in actor_model_group._actor_handlers])


def _begin(actor: Any) -> None:
    from deepspeed.accelerator import get_accelerator

    strategy = actor.strategy
    counted, strategy.time_steps["ema"] = strategy.time_steps["ema"], -1  # the host averages each whole step
    strategy.moving_average(actor.actor, actor.ema_model, beta=0.0, device=get_accelerator().device_name())
    strategy.time_steps["ema"] = counted
