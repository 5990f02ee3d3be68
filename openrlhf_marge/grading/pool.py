"""Symbolic comparison in processes that can be killed: an untrusted answer can keep sympy busy for days."""

from __future__ import annotations

import logging
import os
import queue
import threading
import time
import weakref
from collections import Counter, OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager

from openrlhf_marge.grading.errors import GradingFailed, GradingTimeout, Unparsable
from openrlhf_marge.grading.fork_server import ForkServer
from openrlhf_marge.grading.process import Died, Lost, TimeLeft, Worker, shown

logger = logging.getLogger(__name__)
MAX_CHARS = 10_000  # of a string: sending has no time limit, so a message must fit into the pipe
CACHED_PAIRS = 4096
SYMBOLIC = "openrlhf_marge.grading.symbolic:symbolically_equal"


class GraderPool:
    """Up to ``n_workers`` processes that compare two answers; every method may be called from any thread.

    ``seconds`` is the CPU time for one answer, which does not depend on how busy the machine is; ``memory_mib`` is the
    address space of a process, ``start_seconds`` the wall-clock time for the start of the first. ``function``
    ("module:name") compares.
    """

    def __init__(
        self,
        n_workers: int = 1,
        seconds: float = 5.0,
        memory_mib: int = 1024,
        start_seconds: float = 600.0,
        function: str = SYMBOLIC,
    ) -> None:
        if not (n_workers >= 1 and seconds > 0 and memory_mib > 0):
            raise ValueError("a pool of graders needs n_workers, seconds and memory_mib above 0")
        self.n_workers = n_workers
        self._seconds, self._memory_mib = seconds, memory_mib
        self._server_options = (start_seconds, memory_mib, function)
        self._begin()
        _pools.add(self)

    def _begin(self) -> None:
        """Empty cache, no process; again in a forked child, where locks are as the fork found them."""
        self._lock = threading.Lock()
        self._cache: OrderedDict[tuple[str, str], bool | Unparsable] = OrderedDict()
        self._counts = Counter(timeouts=0, failures=0, cached=0)
        self._server = ForkServer(*self._server_options)
        self._workers = [Worker(self._server, self._seconds, self._memory_mib) for _ in range(self.n_workers)]
        self._idle: queue.LifoQueue[Worker] = queue.LifoQueue()  # the last one used first: the others start late
        for worker in self._workers:
            self._idle.put(worker)

    def _begin_in_child(self) -> None:
        """A forked child must not use its parent's processes."""
        for owner in (*self._workers, self._server):
            owner.forget()
        self._begin()

    @property
    def counts(self) -> dict[str, int]:
        """How often so far: timeouts, failures, verdicts given from the cache, and restarts of a process."""
        with self._lock:
            return dict(self._counts) | {"restarts": sum(max(0, w.starts - 1) for w in self._workers)}

    def budget(self) -> TimeLeft:
        """For all comparisons of one answer together."""
        return TimeLeft(self._seconds)

    def symbolically_equal(self, answer: str, gold: str, budget: TimeLeft | None = None) -> bool:
        """Whether the two are the same mathematics; waits for an idle process first, which costs no budget.

        Unparsable, GradingTimeout (no verdict within the budget), GradingFailed (the process died, twice over the same
        pair, or the comparison raised) or GraderUnavailable. Only verdicts and Unparsable are remembered.
        """
        pair, budget = (answer, gold), budget or self.budget()
        if max(map(len, pair)) > MAX_CHARS:
            raise Unparsable(f"{shown(pair)} is longer than {MAX_CHARS} characters")
        outcome = self._remembered(pair)
        if outcome is None:
            with self._idle_worker(budget) as worker:
                outcome = self._remembered(pair)  # another thread may have asked the same meanwhile
                outcome = self._ask(worker, pair, budget) if outcome is None else outcome
        if isinstance(outcome, Exception):
            raise type(outcome)(*outcome.args)  # a new one: the remembered one would collect tracebacks
        return outcome

    @contextmanager
    def _idle_worker(self, budget: TimeLeft) -> Iterator[Worker]:
        began = time.monotonic()
        worker = self._idle.get()
        try:
            worker.start()
            budget.waited += time.monotonic() - began
            yield worker
        finally:
            self._idle.put(worker)

    def _remembered(self, pair: tuple[str, str]) -> bool | Unparsable | None:
        with self._lock:
            if pair not in self._cache:
                return None
            self._counts["cached"] += 1
            self._cache.move_to_end(pair)
            return self._cache[pair]

    def _ask(self, worker: Worker, pair: tuple[str, str], budget: TimeLeft) -> bool | Exception:
        try:
            try:
                outcome = worker.ask(pair, budget)
            except (Died, Lost):  # not necessarily by this pair
                outcome = worker.ask(pair, budget)
        except GradingFailed as error:
            self._count("failures")
            logger.warning("%s", error)
            raise
        if isinstance(outcome, GradingTimeout):
            self._count("timeouts")
            return outcome
        with self._lock:
            self._cache[pair] = outcome
            if len(self._cache) > CACHED_PAIRS:
                self._cache.popitem(last=False)
        return outcome

    def _count(self, what: str) -> None:
        with self._lock:
            self._counts[what] += 1

    def close(self) -> None:
        """End all processes; a comparison under way in another thread raises GraderUnavailable."""
        self._server.close()

    def __enter__(self) -> GraderPool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _begin_in_children() -> None:
    for pool in list(_pools):
        pool._begin_in_child()


_pools: weakref.WeakSet[GraderPool] = weakref.WeakSet()
os.register_at_fork(after_in_child=_begin_in_children)
