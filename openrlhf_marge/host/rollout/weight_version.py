"""Which weights the engines have, asked by whoever samples, in whatever process."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

WeightVersion = Callable[[], Coroutine[Any, Any, int]]  # weight updates that the engines have had


@dataclass(frozen=True)
class FixedVersion:
    """Of a rollout within which no weights change: all but partial ones."""

    value: int

    async def __call__(self) -> int:
        return self.value


@dataclass(frozen=True)
class ClockVersion:
    """Asks the run's clock (``host/training/weight_clock.py``) each time, from any process."""

    clock: Any

    async def __call__(self) -> int:
        return await self.clock.version.remote()
