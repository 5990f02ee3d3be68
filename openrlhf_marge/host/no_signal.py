"""Groups whose advantages are all zero train nothing: said for a rollout, an error for a run."""

from __future__ import annotations

from collections.abc import Sequence

from openrlhf_marge.types import StateGroup

WHERE_TO_LOOK = (
    "look at the problems' difficulty (train/marge/pass_rate), at the grader and at --rollout.n_samples_per_prompt"
)


def no_signal(rollout: int, groups: Sequence[StateGroup], credits_prefix: bool) -> str | None:
    """What to tell the user about a rollout that teaches nothing; None when some group does.

    ``credits_prefix`` says that guidance tokens are trained on the value gained over them.
    """
    if any(g.has_signal or (credits_prefix and g.state.segment and g.value_gain) for g in groups):
        return None
    found = f"no two rewards of a group differ in its {len(groups)} groups" if groups else "no problem brought a group"
    return f"Rollout {rollout} has no signal, {found}; {WHERE_TO_LOOK}"
