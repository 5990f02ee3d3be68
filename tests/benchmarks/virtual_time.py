"""An asyncio event loop whose clock stands still while anything can run, and else goes to when the next thing is due.

A day of waiting takes no time, and what is due at the same moment runs in the order in which it was asked for.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Iterator
from contextlib import contextmanager


class VirtualClock:
    """Seconds; the same for all loops of a simulation, of which every rollout has its own."""

    def __init__(self) -> None:
        self.now = 0.0


class NothingLeft(RuntimeError):
    """Whoever still waits would wait for ever: a hang, of a real run."""


class _Selector(selectors.DefaultSelector):  # type: ignore[misc, valid-type]
    """Waits by moving the clock."""

    clock: VirtualClock

    def select(self, timeout: float | None = None):
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        if timeout is None:
            raise NothingLeft(f"nothing can happen any more after {self.clock.now:.1f} virtual seconds")
        self.clock.now += timeout
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self, clock: VirtualClock) -> None:
        selector = _Selector()
        selector.clock = clock
        self._virtual = clock
        super().__init__(selector)

    def time(self) -> float:
        return self._virtual.now


class _Policy(asyncio.DefaultEventLoopPolicy):
    def __init__(self, clock: VirtualClock) -> None:
        super().__init__()
        self._clock = clock

    def new_event_loop(self) -> VirtualLoop:
        return VirtualLoop(self._clock)


@contextmanager
def virtual_time() -> Iterator[VirtualClock]:
    """Within it ``asyncio.run`` runs in virtual time."""
    clock, before = VirtualClock(), asyncio.get_event_loop_policy()
    asyncio.set_event_loop_policy(_Policy(clock))
    try:
        yield clock
    finally:
        asyncio.set_event_loop_policy(before)
