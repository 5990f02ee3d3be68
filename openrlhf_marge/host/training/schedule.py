"""The learning-rate schedule: how many optimizer steps it is planned for, and its end in OpenRLHF's actors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ray

PLANNED, TAKEN = "marge/planned_steps", "marge/taken_steps"
TOLERANCE = 0.1  # by which share the steps may miss the plan before it is said to be wrong


def planned_steps(args: Any, completions: float) -> int:
    """Optimizer steps of a run whose episodes bring so many completions.

    Groups that fill no whole batch wait for the next rollout, also over episodes, so only the total is rounded down.
    """
    return max(1, int(completions * args.train.num_episodes // args.train.batch_size)) * args.train.max_epochs


def wrong_plan(planned: int, expected: float, measured: float) -> str | None:
    """What to tell the user when the states per problem that came, ``measured``, are not the ``expected`` ones.

    None when the plan is right within ``TOLERANCE``.
    """
    if abs(measured / expected - 1) <= TOLERANCE:
        return None
    end = "stays at the end of its schedule from there on" if measured > expected else "does not get to its end"
    return (
        f"The first rollout brought {measured:.2f} states a problem, those without guidance included, and the "
        f"learning-rate schedule counts on {expected:.2f}: it is planned for {planned} optimizer steps, about "
        f"{planned * measured / expected:.0f} come at this rate, and the learning rate {end}; set "
        f"--marge.expected_states {measured:.2f}, also when you resume"
    )


def end_of_plan(planned: int, taken: int, expected: float) -> str:
    """What to tell the user at the end of a run planned for ``expected`` states per problem."""
    said = f"Training took {taken} optimizer steps; the learning-rate schedule was planned for {planned}"
    if abs(taken / planned - 1) > TOLERANCE:
        said += f", and would have been for {taken} with --marge.expected_states {expected * taken / planned:.2f}"
    return said


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
    """Optimizer steps that the schedule has gone, those before a checkpoint included."""
    return ray.get(actor_model_group._actor_handlers[0].__ray_call__.remote(_taken))


def _hold_end(actor: Any) -> int:
    scheduler, planned = actor.actor_scheduler, actor.max_steps
    if "cosine" in actor.strategy.args.actor.lr_scheduler:  # the others stay at their end, or have none
        scheduler.lr_lambdas = [hold_end(schedule, planned) for schedule in scheduler.lr_lambdas]
        # The next step's rate came with the checkpoint, and may be one that had climbed, or of another plan.
        for group, rate, held in zip(
            scheduler.optimizer.param_groups, scheduler.base_lrs, scheduler.lr_lambdas, strict=True
        ):
            group["lr"] = rate * held(scheduler.last_epoch)
    return planned


def _taken(actor: Any) -> int:
    return actor.actor_scheduler.last_epoch
