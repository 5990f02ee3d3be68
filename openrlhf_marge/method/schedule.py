"""How many optimizer steps the learning-rate schedule is planned for, and what to say when others come."""

from __future__ import annotations

from typing import Any

TOLERANCE = 0.1  # by which share the steps may miss the plan before it is said to be wrong


def planned_steps(args: Any, completions: float) -> int:
    """Optimizer steps of a run whose episodes bring so many completions.

    Groups that fill no whole batch wait for the next rollout, also over episodes, so only the total is rounded down.
    """
    return max(1, int(completions * args.train.num_episodes // args.train.batch_size)) * args.train.max_epochs


def can_miss_plan(args: Any) -> bool:
    """A replay brings what was counted, and a constant learning rate has no end to miss."""
    return not args.marge.replay_dir and args.actor.lr_scheduler != "constant"


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


def skipped_steps(args: Any, completions: int) -> int:
    """Optimizer steps that so many completions would have taken, had they been trained on."""
    return completions // args.train.batch_size * args.train.max_epochs


def end_of_plan(planned: int, taken: int, expected: float, skipped: int = 0) -> str:
    """What to tell the user at the end of a run planned for ``expected`` states per problem.

    ``skipped`` are steps of the schedule for completions that were left out, beside the ``taken`` ones.
    """
    gone = taken + skipped
    said = f"Training took {taken} optimizer steps"
    said += f" and skipped {skipped}, of completions that were left out" if skipped else ""
    said += f"; the learning-rate schedule was planned for {planned}"
    if abs(gone / planned - 1) > TOLERANCE:
        said += f", and would have been for {gone} with --marge.expected_states {expected * gone / planned:.2f}"
    return said
