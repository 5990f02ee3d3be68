"""The record of a rollout, on its way from the generator to the checkpoint and the log.

OpenRLHF asks its prompt loader for a state after every rollout and hands that through to the checkpoint, in the
asynchronous trainer across actors. So the record of a rollout travels inside the loader's state.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from openrlhf_marge.method.groups import StateGroup
from openrlhf_marge.method.guidance import PoolState

RECORD = "marge"  # key in the prompt loader's state


@dataclass(frozen=True, kw_only=True)
class RolloutRecord:
    """Where the generator stands; in a checkpoint file ``pool`` holds all problems, on the way the visited ones."""

    pool: PoolState
    waiting: tuple[StateGroup, ...]  # groups that no training batch has taken yet
    rollouts: int
    episode: int
    skipped: int = 0  # completions that --marge.skip_saturated and max_age left out of the training batches so far
    metrics: dict[str, float] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"<{self.pool!r}, {len(self.waiting)} groups waiting, {self.rollouts} rollouts>"

    def with_pool(self, pool: PoolState) -> RolloutRecord:
        return replace(self, pool=pool, metrics={})


class RecordingLoader:
    """OpenRLHF's prompt loader, its state extended by the generator's record."""

    def __init__(self, loader: Any, take_record: Callable[[], RolloutRecord]) -> None:
        self._loader, self._take_record = loader, take_record

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def __iter__(self) -> Any:
        return iter(self._loader)

    def __len__(self) -> int:
        return len(self._loader)

    def state_dict(self) -> dict[str, Any]:
        """Extends the host's; metrics in the record are given out once."""
        return self._loader.state_dict() | {RECORD: self._take_record()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The loader's part only; the record of a checkpoint is in a file of its own."""
        self._loader.load_state_dict({key: value for key, value in state.items() if key != RECORD})
