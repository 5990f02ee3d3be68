"""Group-relative advantages (Eq. 4): each completion against the others of ITS state, found by group id."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence


def group_advantages(rewards: Sequence[float], group_ids: Sequence[int], kind: str = "group_norm") -> list[float]:
    """The advantage of every completion over the others of its group, in the order of ``rewards``.

    ``rewards`` and ``group_ids`` have one entry per completion, in any order; groups may differ in size. Kinds:

    - ``group_norm``: (r - mean) / std, with one degree of freedom taken off the standard deviation (n - 1), as GRPO's
      and OpenRLHF's group_norm (Eq. 4).
    - ``mean`` and ``vine``: r - mean (Dr. GRPO; VinePPO's r - V(s_j) for the tokens after the last state).
    - ``leave_one_out``: r - mean of the others (RLOO), which is (r - mean) * n / (n - 1).

    A group whose rewards are all equal, or of one completion, carries no signal: exactly 0, never NaN.
    """
    members = _members(rewards, group_ids)
    advantages = [0.0] * len(rewards)
    for indices in members.values():
        mean, std = _mean_and_std([rewards[i] for i in indices])
        if std > 0.0:
            scale = {"group_norm": 1 / std, "leave_one_out": len(indices) / (len(indices) - 1)}.get(kind, 1.0)
            for i in indices:
                advantages[i] = (rewards[i] - mean) * scale
    return advantages


def group_stds(rewards: Sequence[float], group_ids: Sequence[int]) -> list[float]:
    """Standard deviation (n - 1) of the rewards of each completion's group, in the order of ``rewards``."""
    members = _members(rewards, group_ids)
    stds = {group_id: _mean_and_std([rewards[i] for i in indices])[1] for group_id, indices in members.items()}
    return [stds[group_id] for group_id in group_ids]


def _mean_and_std(values: Sequence[float]) -> tuple[float, float]:
    # Equal values are settled first: their float mean may be off by an ulp, and dividing by that makes noise of 1e9.
    if min(values) == max(values):
        return values[0], 0.0
    mean = math.fsum(values) / len(values)
    return mean, math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (len(values) - 1))


def _members(rewards: Sequence[float], group_ids: Sequence[int]) -> dict[int, list[int]]:
    if len(rewards) != len(group_ids):
        raise ValueError(f"got {len(group_ids)} group ids for {len(rewards)} rewards")
    members = defaultdict(list)
    for index, group_id in enumerate(group_ids):
        members[group_id].append(index)
    return members
