"""Groups that wait to be trained on; what leaves is always whole groups that fill whole training batches."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from openrlhf_marge.types import StateGroup


class GroupQueue:
    """First in, first out. A rest smaller than a training batch waits for the next rollout.

    DeepSpeed accumulates gradients over a fixed number of micro-batches: a rest would stay in the accumulated
    gradient and be applied in the next step, after the policy has moved.
    """

    def __init__(self, train_batch_size: int) -> None:
        self._train_batch_size = train_batch_size
        self._groups: deque[StateGroup] = deque()

    def __len__(self) -> int:
        """Completions that wait."""
        return sum(len(g.completions) for g in self._groups)

    def extend(self, groups: Iterable[StateGroup]) -> None:
        self._groups.extend(groups)

    def take(self) -> list[StateGroup]:
        """The most groups, oldest first, whose completions together are a multiple of the training batch size."""
        total, n_taken = 0, 0
        for count, group in enumerate(self._groups, start=1):
            total += len(group.completions)
            if total % self._train_batch_size == 0:
                n_taken = count
        return [self._groups.popleft() for _ in range(n_taken)]
