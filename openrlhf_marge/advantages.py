"""Group-relative advantages (Eq. 4): each completion against the others of ITS state, found by group id."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence


def group_advantages(rewards: Sequence[float], group_ids: Sequence[int]) -> list[float]:
    """r_hat = (r - mean) / std over the rewards of the same group, in the order of ``rewards``.

    ``rewards`` and ``group_ids`` have one entry per completion, in any order; groups may differ in size. The
    standard deviation has one degree of freedom taken off (n - 1), as GRPO's and OpenRLHF's group_norm. A group
    whose rewards are all equal, or of one completion, carries no signal: exactly 0, never NaN.
    """
    members = defaultdict(list)
    for index, group_id in _aligned(rewards, group_ids):
        members[group_id].append(index)
    advantages = [0.0] * len(rewards)
    for indices in members.values():
        mean, std = _mean_and_std([rewards[i] for i in indices])
        if std > 0.0:
            for i in indices:
                advantages[i] = (rewards[i] - mean) / std
    return advantages


def group_stds(rewards: Sequence[float], group_ids: Sequence[int]) -> list[float]:
    """Standard deviation (n - 1) of the rewards of each completion's group, in the order of ``rewards``."""
    members = defaultdict(list)
    for index, group_id in _aligned(rewards, group_ids):
        members[group_id].append(rewards[index])
    stds = {group_id: _mean_and_std(values)[1] for group_id, values in members.items()}
    return [stds[group_id] for group_id in group_ids]


def _mean_and_std(values: Sequence[float]) -> tuple[float, float]:
    # Equal values are settled first: their float mean may be off by an ulp, and dividing by that makes noise of 1e9.
    if min(values) == max(values):
        return values[0], 0.0
    mean = math.fsum(values) / len(values)
    return mean, math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (len(values) - 1))


def _aligned(rewards: Sequence[float], group_ids: Sequence[int]) -> list[tuple[int, int]]:
    if len(rewards) != len(group_ids):
        raise ValueError(f"got {len(group_ids)} group ids for {len(rewards)} rewards")
    return list(enumerate(group_ids))
