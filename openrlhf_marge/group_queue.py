"""Groups that wait to be trained on; what leaves is always whole groups that fill whole training batches."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from openrlhf_marge.types import StateGroup

LOOK_AHEAD = 8  # largest groups: the end of the last batch within which the fitting groups are searched for


class GroupQueue:
    """Oldest first. A rest smaller than a training batch waits for the next rollout.

    DeepSpeed accumulates gradients over a fixed number of micro-batches: a rest would stay in the accumulated
    gradient and be applied in the next step, after the policy has moved.
    """

    def __init__(self, train_batch_size: int) -> None:
        self._train_batch_size = train_batch_size
        self._groups: list[StateGroup] = []

    def __len__(self) -> int:
        """Completions that wait."""
        return sum(len(g.completions) for g in self._groups)

    @property
    def groups(self) -> tuple[StateGroup, ...]:
        """The groups that wait, oldest first."""
        return tuple(self._groups)

    def extend(self, groups: Iterable[StateGroup]) -> None:
        self._groups.extend(groups)

    def take(self) -> list[StateGroup]:
        """The most whole batches that whole groups can fill, by the oldest groups that do; the others stay."""
        sizes = [len(g.completions) for g in self._groups]
        batch = self._train_batch_size
        for total in range(sum(sizes) // batch * batch, 0, -batch):
            if chosen := _fill(sizes, total):
                taken = [self._groups[i] for i in chosen]
                self._groups = [g for i, g in enumerate(self._groups) if i not in chosen]
                return taken
        return []


def _fill(sizes: Sequence[int], total: int) -> dict[int, None]:
    """Places of the first groups that add up to ``total`` exactly; empty when none do."""
    chosen: dict[int, None] = {}
    place = 0
    while place < len(sizes) and total > LOOK_AHEAD * max(sizes):
        chosen[place] = None
        total -= sizes[place]
        place += 1
    # Bit s of reachable[i]: some of the groups from i on add up to s.
    reachable = [1]
    for size in reversed(sizes[place:]):
        reachable.append(reachable[-1] | reachable[-1] << size & (1 << total + 1) - 1)
    for i, rest in enumerate(reversed(reachable[:-1]), start=place):
        if sizes[i] <= total and rest >> total - sizes[i] & 1:
            chosen[i] = None
            total -= sizes[i]
    return {} if total else chosen
