"""Group-relative advantages (Eq. 4): each completion against the others of ITS state, found by group id.

An advantage is a function of the rewards of one group. Another package may bring its own, see EXTENDING.md.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence

from openrlhf_marge.entry_points import Registry, function_of

# The rewards of one group, of which at least two differ -> one finite advantage per reward, in their order.
Advantage = Callable[[Sequence[float]], Sequence[float]]


def group_norm(rewards: Sequence[float]) -> list[float]:
    """(r - mean) / std with n - 1 degrees of freedom (Eq. 4; GRPO, arXiv 2402.03300), as OpenRLHF's group_norm.

    OpenRLHF adds 1e-9 to the standard deviation; here it cannot be 0, as two rewards differ.
    """
    center, std = _mean_and_std(rewards)
    scale = 1 / std
    return [(r - center) * scale for r in rewards]


def mean(rewards: Sequence[float]) -> list[float]:
    """r - mean (Dr. GRPO, arXiv 2503.20783): a group counts more, the more its rewards differ."""
    center, _ = _mean_and_std(rewards)
    return [r - center for r in rewards]


def leave_one_out(rewards: Sequence[float]) -> list[float]:
    """r - mean of the others (RLOO, arXiv 2402.14740), which is (r - mean) n / (n - 1); n is at least 2."""
    scale = len(rewards) / (len(rewards) - 1)
    return [a * scale for a in mean(rewards)]


def vine(rewards: Sequence[float]) -> list[float]:
    """r - V(s_j) for the tokens after the last state (VinePPO, arXiv 2410.01679).

    V(s_j) is the group's mean reward, so the numbers are those of ``mean``. The guidance tokens between two states
    get the difference of their values besides (``MargeConfig.credits_prefix``).
    """
    return mean(rewards)


ADVANTAGES: Registry[Advantage] = Registry(
    flag="--marge.advantage",
    group="openrlhf_marge.advantages",
    own={"group_norm": group_norm, "mean": mean, "leave_one_out": leave_one_out, "vine": vine},
    check=function_of("(rewards of a group) -> advantages"),
)


def group_advantages(
    rewards: Sequence[float], group_ids: Sequence[int], kind: str = "group_norm", negative_weight: float = 1.0
) -> list[float]:
    """The advantage of every completion over the others of its group, in the order of ``rewards``.

    ``rewards`` and ``group_ids`` have one entry per completion, in any order; groups may differ in size. ``kind`` is a
    name in ``ADVANTAGES``; ValueError for an unknown one, or when it does not give one finite number per reward.

    A group whose rewards are all equal, or of one completion, carries no signal: exactly 0, never NaN. Negative
    advantages are multiplied by ``negative_weight``.
    """
    advantage, advantages = ADVANTAGES.load(kind), [0.0] * len(rewards)
    for indices in _members(rewards, group_ids).values():
        of_group = [rewards[i] for i in indices]
        if _mean_and_std(of_group)[1] == 0.0:
            continue
        found = advantage(of_group)
        # Rewards that are not finite are named as what they are, with their step, by who trains on them.
        are_wrong = all(map(math.isfinite, of_group)) and not all(map(math.isfinite, found))
        if len(found) != len(indices) or are_wrong:
            raise ValueError(
                f"--marge.advantage {kind} gave {found} for the rewards {of_group}; give a finite number for each"
            )
        for i, value in zip(indices, found, strict=True):
            advantages[i] = weigh(value, negative_weight)
    return advantages


def weigh(advantage: float, negative_weight: float) -> float:
    """``--marge.negative_weight`` times an advantage below 0, others as they are."""
    return advantage if advantage >= 0 else advantage * negative_weight


def group_stds(rewards: Sequence[float], group_ids: Sequence[int]) -> list[float]:
    """Standard deviation (n - 1) of the rewards of each completion's group, in the order of ``rewards``."""
    members = _members(rewards, group_ids)
    stds = {group_id: _mean_and_std([rewards[i] for i in indices])[1] for group_id, indices in members.items()}
    return [stds[group_id] for group_id in group_ids]


def _mean_and_std(values: Sequence[float]) -> tuple[float, float]:
    # Equal values are settled first: their float mean may be off by an ulp, and dividing by that makes noise of 1e9.
    if min(values) == max(values):
        return values[0], 0.0
    center = math.fsum(values) / len(values)
    return center, math.sqrt(math.fsum((v - center) ** 2 for v in values) / (len(values) - 1))


def _members(rewards: Sequence[float], group_ids: Sequence[int]) -> dict[int, list[int]]:
    if len(rewards) != len(group_ids):
        raise ValueError(f"got {len(group_ids)} group ids for {len(rewards)} rewards")
    members = defaultdict(list)
    for index, group_id in enumerate(group_ids):
        members[group_id].append(index)
    return members
