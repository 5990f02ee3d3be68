"""What trains nothing: said for a rollout and for a step, an error for a run."""

from __future__ import annotations

WHERE_TO_LOOK = (
    "look at the problems' difficulty (train/marge/pass_rate), at the grader and at --rollout.n_samples_per_prompt"
)


def no_groups(rollout: int, n_problems: int) -> str:
    """A sentence on a rollout none of whose problems brought a group."""
    return (
        f"Rollout {rollout} brings nothing to train on: none of its {n_problems} problems has guidance and room; "
        f"{WHERE_TO_LOOK}"
    )


def no_signal(step: int) -> str:
    """A sentence on a step whose advantages are all zero."""
    return (
        f"Global step {step} had no signal: in none of its groups do two rewards differ, so every advantage is zero; "
        f"{WHERE_TO_LOOK}"
    )


def too_old(n_groups: int, max_age: int | None) -> str:
    """A sentence on groups that were left out of the training batches for their age."""
    return (
        f"Groups were sampled more than --marge.max_age {max_age} weight updates before they could be trained on, "
        f"{n_groups} now, and are left out; train/marge/groups_too_old counts them. Where they are many, raise it, or "
        "lower --train.async_queue_size or --train.batch_size, for which groups wait"
    )


def check_learned(steps: int, had_signal: bool, train_batch_size: int) -> None:
    """RuntimeError at the end of a run that learned nothing; OpenRLHF saves a model only where none is raised."""
    if not steps:
        raise RuntimeError(
            f"training ended without a step: no {train_batch_size} completions came together (--train.batch_size); "
            "explore more problems or make it smaller"
        )
    if not had_signal:
        raise RuntimeError(
            f"training ended without a signal: in all {steps} global steps no two rewards of a group differed, so "
            f"every advantage was zero and no model is saved; {WHERE_TO_LOOK}"
        )
