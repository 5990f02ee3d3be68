"""The learning-rate schedule in OpenRLHF's actors: its end, and how far it has gone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ray


def hold_end(schedule: Callable[[int], float], planned: int) -> Callable[[int], float]:
    """``schedule``, a factor by optimizer step, staying at its end: transformers' cosines would climb back.

    The end is the lower of the last planned step and the one after it, whichever of the two a schedule counts to.
    """
    end = min(planned, max(1, planned - 1), key=schedule)

    def held(step: int) -> float:  # a function: of other callables LambdaLR writes the attributes into checkpoints
        return schedule(min(step, end))

    return held


def hold_ends(actor_model_group: Any) -> int:
    """Let every actor's schedule stay at its end; returns the optimizer steps that it is planned for."""
    return ray.get([a.__ray_call__.remote(_hold_end) for a in actor_model_group._actor_handlers])[0]


def taken_steps(actor_model_group: Any) -> int:
    """Optimizer steps that the schedule has gone, skipped ones and those before a checkpoint included."""
    return ray.get(actor_model_group._actor_handlers[0].__ray_call__.remote(_taken))


def move_on(actor_model_group: Any, steps: int) -> None:
    """Let the learning rate go on as over so many optimizer steps that were not taken."""
    if steps:
        ray.get([a.__ray_call__.remote(_move_on, steps) for a in actor_model_group._actor_handlers])


def _move_on(actor: Any, steps: int) -> None:
    for _ in range(steps):
        actor.actor_scheduler.step()


def _hold_end(actor: Any) -> int:
    scheduler, planned, flags = actor.actor_scheduler, actor.max_steps, actor.strategy.args.actor
    if "cosine" in flags.lr_scheduler:  # the others stay at their end, or have none
        scheduler.lr_lambdas = [hold_end(schedule, planned) for schedule in scheduler.lr_lambdas]
    if flags.optim == "adam":  # Muon's groups have rates of their own
        scheduler.base_lrs = [flags.adam.lr for _ in scheduler.base_lrs]
    # The next step's rate came with the checkpoint, and may be one that had climbed, or of other flags.
    for group, rate, factor in zip(
        scheduler.optimizer.param_groups, scheduler.base_lrs, scheduler.lr_lambdas, strict=True
    ):
        group["lr"] = rate * factor(scheduler.last_epoch)
    return planned


def _taken(actor: Any) -> int:
    return actor.actor_scheduler.last_epoch
