"""Groups that wait to be trained on; what leaves is always whole groups that fill whole training batches."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from openrlhf_marge.method.groups import StateGroup


class GroupQueue:
    """Oldest first. A rest smaller than a training batch waits for the next rollout.

    DeepSpeed accumulates gradients over a fixed number of micro-batches: a rest would stay in the accumulated
    gradient and be applied in the next step, after the policy has moved.
    """

    def __init__(self, train_batch_size: int) -> None:
        self._train_batch_size = train_batch_size
        self._groups: list[StateGroup] = []

    def __len__(self) -> int:
        """Completions that wait to be trained on."""
        return sum(len(g.trained) for g in self._groups)

    @property
    def groups(self) -> tuple[StateGroup, ...]:
        """The groups that wait, oldest first."""
        return tuple(self._groups)

    def extend(self, groups: Iterable[StateGroup]) -> None:
        self._groups.extend(groups)

    def drop_older(self, weight_version: int) -> list[StateGroup]:
        """Take out the groups of older weights than these; they are not to be trained on."""
        dropped = [g for g in self._groups if g.weight_version < weight_version]
        self._groups = [g for g in self._groups if g.weight_version >= weight_version]
        return dropped

    def take(self) -> list[StateGroup]:
        """The most whole batches that whole groups can fill; of the ways to fill them, the oldest groups go first."""
        stay = _left_over([len(g.trained) for g in self._groups], self._train_batch_size)
        taken = [g for i, g in enumerate(self._groups) if i not in stay]
        self._groups = [g for i, g in enumerate(self._groups) if i in stay]
        return taken


def _left_over(sizes: Sequence[int], batch: int) -> set[int]:
    """Places of the groups that stay: together as few completions as can be, and the newest ones that add up so.

    What stays is small where what leaves is large, so sums are searched up to the rest only. Bit s of a sum set says
    whether some of the groups add up to s.
    """
    total, all_sums = sum(sizes), 1
    for size in sizes:
        all_sums |= all_sums << size
    rest = next(s for s in range(total % batch, total + 1, batch) if all_sums >> s & 1)
    limit = (1 << rest + 1) - 1
    newer_sums = [1]  # of the groups after each, the newest first
    for size in reversed(sizes):
        newer_sums.append((newer_sums[-1] | newer_sums[-1] << size) & limit)
    stay = set()
    for place, newer in enumerate(reversed(newer_sums[:-1])):
        if not newer >> rest & 1:  # this one must stay for the rest to come about
            stay.add(place)
            rest -= sizes[place]
    return stay
