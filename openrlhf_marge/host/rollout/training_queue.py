"""Groups on their way to the trainer: what the flags leave out, how old the others are, and when they leave."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from openrlhf_marge.method.config import MargeConfig
from openrlhf_marge.method.group_queue import GroupQueue
from openrlhf_marge.method.groups import StateGroup
from openrlhf_marge.method.metrics import GROUPS_SKIPPED, GROUPS_TOO_OLD, OLDEST_AGE


class TrainingQueue(GroupQueue):
    """The run's queue; it knows the trainer's weight updates without asking.

    The trainer makes one weight update of all that is handed on at once, in the order in which it is. So its number
    is known here, however far an asynchronous trainer is behind.
    """

    def __init__(self, config: MargeConfig, train_batch_size: int) -> None:
        super().__init__(train_batch_size)
        self._config = config
        self.skipped = 0  # completions that were left out so far
        self.updates = 0  # of the weights, before what is handed on next is trained on: one for each time before
        self.counts: Counter[str] = Counter()  # metrics since they were taken last

    def put(self, groups: Sequence[StateGroup]) -> None:
        """All with completions to train on, or with ``--marge.skip_saturated`` those that bring a gradient of the
        rewards."""
        groups = [group for group in groups if group.trained]
        kept = groups
        if self._config.skip_saturated:
            kept = [group for group in groups if group.trains(self._config.credits_prefix)]
            self.skipped += completions_of(groups) - completions_of(kept)
            self.counts[GROUPS_SKIPPED] += len(groups) - len(kept)
        self.extend(kept)

    def drop_old(self) -> int:
        """With ``--marge.max_age``: groups that would be older than it when they are trained on leave; how many."""
        if self._config.max_age is None:
            return 0
        dropped = self.drop_older(self.updates - self._config.max_age)
        self.skipped += completions_of(dropped)
        self.counts[GROUPS_TOO_OLD] += len(dropped)
        return len(dropped)

    def take(self) -> list[StateGroup]:
        """The groups of the next training batches, which are one weight update."""
        taken = super().take()
        if taken and not self._config.replay_dir:  # a replay's weights were those of another run
            self.counts[OLDEST_AGE] = self.updates - min(g.weight_version for g in taken)
        self.updates += bool(taken)
        return taken

    def take_counts(self) -> dict[str, float]:
        """Metrics since the last call."""
        counts, self.counts = self.counts, Counter()
        return dict(counts)

    def restore(self, waiting: Sequence[StateGroup], skipped: int, updates: int) -> None:
        """Go on where another process stood."""
        self.extend(waiting)
        self.skipped, self.updates = skipped, updates


def completions_of(groups: Sequence[StateGroup]) -> int:
    """How many are trained on."""
    return sum(len(group.trained) for group in groups)
