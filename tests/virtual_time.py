"""An asyncio event loop whose clock stands still while anything can run, and else goes to when the next thing is due.

A day of waiting takes no time, and what is due at the same moment runs in the order in which it was asked for.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any


class VirtualClock:
    """Seconds; the same for all loops of a simulation, of which every rollout has its own."""

    def __init__(self) -> None:
        self.now = 0.0


class NothingLeft(RuntimeError):
    """Whoever still waits would wait for ever: a hang, of a real run."""


class _Selector(selectors.DefaultSelector):  # type: ignore[misc, valid-type]
    """Waits by moving the clock."""

    def __init__(self, clock: VirtualClock, has_threads: bool) -> None:
        super().__init__()
        self._clock, self._has_threads = clock, has_threads

    def select(self, timeout: float | None = None):
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        if timeout is None and self._has_threads:
            return super().select(None)
        if timeout is None:
            raise NothingLeft(f"nothing can happen any more after {self._clock.now:.1f} virtual seconds")
        self._clock.now += timeout
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self, clock: VirtualClock, has_threads: bool) -> None:
        self._virtual = clock
        super().__init__(_Selector(clock, has_threads))

    def time(self) -> float:
        return self._virtual.now


class _Policy(asyncio.DefaultEventLoopPolicy):
    def __init__(self, clock: VirtualClock, has_threads: bool) -> None:
        super().__init__()
        self._of_loops = clock, has_threads

    def new_event_loop(self) -> VirtualLoop:
        return VirtualLoop(*self._of_loops)


@contextmanager
def virtual_time(has_threads: bool = False) -> Iterator[VirtualClock]:
    """Within it ``asyncio.run`` runs in virtual time; where there are threads, it waits for them in real time."""
    clock, before = VirtualClock(), asyncio.get_event_loop_policy()
    asyncio.set_event_loop_policy(_Policy(clock, has_threads))
    try:
        yield clock
    finally:
        asyncio.set_event_loop_policy(before)


def run(work: Coroutine[Any, Any, Any]) -> Any:
    """As ``asyncio.run``, in virtual time, with threads."""
    with virtual_time(has_threads=True):
        return asyncio.run(work)
