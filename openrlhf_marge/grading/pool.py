"""Symbolic comparison in processes that can be killed: an untrusted answer can keep sympy busy for days.

The caller is one of many threads of a process that may hold vLLM. A forked copy of it can deadlock, and
multiprocessing's spawn imports the user's script again, so a worker is a plain subprocess with a pipe.
"""

from __future__ import annotations

import os
import queue
import threading
import weakref
from collections import Counter, OrderedDict
from contextlib import suppress

from openrlhf_marge.grading.errors import GradingFailed, GradingTimeout, Unparsable
from openrlhf_marge.grading.process import Budget, Died, Worker, shown

MAX_CHARS = 10_000  # of a string: sending has no time limit, so a message must fit into the pipe
COMPUTING = 0.9  # of an answer's seconds; the rest is for noticing and stopping
CACHED_PAIRS = 4096
SYMBOLIC = "openrlhf_marge.grading.symbolic:symbolically_equal"


class GraderPool:
    """Up to ``n_workers`` processes that compare two answers; every method may be called from any thread.

    ``seconds`` is the time for one answer, ``start_seconds`` for the start of a process, ``memory_mib`` its
    address space. ``function`` ("module:name") compares.
    """

    def __init__(
        self,
        n_workers: int = 1,
        seconds: float = 5.0,
        memory_mib: int = 1024,
        start_seconds: float = 120.0,
        function: str = SYMBOLIC,
    ) -> None:
        if not (n_workers >= 1 and seconds > 0 and memory_mib > 0):
            raise ValueError("a pool of graders needs n_workers, seconds and memory_mib above 0")
        self._n_workers, self._options = n_workers, (seconds, memory_mib, start_seconds, function)
        self._computing_seconds = seconds * COMPUTING
        self._closed = False
        self._workers: list[Worker] = []
        self._begin()
        _pools.add(self)

    def _begin(self) -> None:
        """Empty cache, no process; again in a forked child, where locks are as the fork found them."""
        for worker in self._workers:
            if worker.process is not None:
                worker.pipe.close()
        self._lock = threading.Lock()
        self._cache: OrderedDict[tuple[str, str], bool | Exception] = OrderedDict()
        self._counts = Counter(timeouts=0, failures=0, restarts=0, cached=0)
        self._workers = [Worker(*self._options) for _ in range(self._n_workers)]
        self._idle: queue.LifoQueue[Worker] = queue.LifoQueue()  # the last one used first: the others start late
        for worker in self._workers:
            self._idle.put(worker)

    @property
    def counts(self) -> dict[str, int]:
        """How often so far: timeouts, failures, restarts of a process, and verdicts given from the cache."""
        with self._lock:
            return dict(self._counts)

    def budget(self) -> Budget:
        """For all comparisons of one answer together."""
        return Budget(self._computing_seconds)

    def symbolically_equal(self, answer: str, gold: str, budget: Budget | None = None) -> bool:
        """Whether the two are the same mathematics; waits for an idle process first.

        Unparsable, GradingTimeout (no verdict in time) or GradingFailed (the process died, twice over the same
        pair, or the comparison raised). All but the last are remembered, so a hostile answer costs its time once.
        """
        pair, budget = (answer, gold), budget or self.budget()
        if max(map(len, pair)) > MAX_CHARS:
            raise Unparsable(f"{shown(pair)} is longer than {MAX_CHARS} characters")
        outcome = self._remembered(pair)
        if outcome is None:
            worker = self._idle.get()
            try:
                outcome = self._remembered(pair)  # another thread may have asked the same meanwhile
                outcome = self._ask(worker, pair, budget) if outcome is None else outcome
            finally:
                self._idle.put(worker)
        if isinstance(outcome, Exception):
            raise type(outcome)(*outcome.args)  # a new one: the remembered one would collect tracebacks
        return outcome

    def _remembered(self, pair: tuple[str, str]) -> bool | Exception | None:
        with self._lock:
            if pair not in self._cache:
                return None
            self._counts["cached"] += 1
            self._cache.move_to_end(pair)
            return self._cache[pair]

    def _ask(self, worker: Worker, pair: tuple[str, str], budget: Budget) -> bool | Exception:
        whole = budget.left >= self._computing_seconds
        try:
            if worker.process is None or worker.spent:
                self._start(worker)
            try:
                outcome = worker.ask(pair, budget)
            except Died:  # not necessarily by this pair
                self._start(worker)
                outcome = worker.ask(pair, budget)
        except (GradingFailed, OSError) as error:
            self._count("failures")
            raise GradingFailed(str(error)) from error
        finally:
            self._replace_if_spent(worker)
        with self._lock:
            self._counts["timeouts"] += isinstance(outcome, GradingTimeout)
            if whole or not isinstance(outcome, GradingTimeout):
                self._cache[pair] = outcome
            if len(self._cache) > CACHED_PAIRS:
                self._cache.popitem(last=False)
        return outcome

    def _replace_if_spent(self, worker: Worker) -> None:
        if not worker.spent:
            return
        worker.stop()
        if worker.ready:  # else its start failed: the next caller tries again
            with suppress(OSError, GradingFailed):
                self._start(worker)

    def _start(self, worker: Worker) -> None:
        with self._lock:
            if self._closed:
                raise GradingFailed("the pool of graders is closed: make a new one")
            self._counts["restarts"] += worker.process is not None
            worker.stop()
            worker.start()

    def _count(self, what: str) -> None:
        with self._lock:
            self._counts[what] += 1

    def close(self) -> None:
        """End all processes; a comparison under way in another thread raises GradingFailed."""
        with self._lock:
            self._closed = True
            for worker in self._workers:
                worker.stop()

    def __enter__(self) -> GraderPool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _begin_in_child() -> None:
    """A forked child must not use its parent's processes."""
    for pool in list(_pools):
        pool._begin()


_pools: weakref.WeakSet[GraderPool] = weakref.WeakSet()
os.register_at_fork(after_in_child=_begin_in_child)
