"""The pool of graders that all gradings of a process share."""

from __future__ import annotations

import atexit
import math
import os
import threading
from contextlib import suppress

from openrlhf_marge.grading.pool import GraderPool
from openrlhf_marge.grading.process import MEMORY_VARIABLE

MOST_WORKERS = 16  # by default: more than one process's Python can feed


def shared_pool() -> GraderPool:
    """The pool of this process, sized by MARGE_GRADER_WORKERS, _SECONDS and _MEMORY_MIB; ValueError for bad ones."""
    global _shared
    with _shared_lock:
        if _shared is None:
            _shared = GraderPool(
                workers_for(1),
                _setting("MARGE_GRADER_SECONDS", 5.0, float),
                _setting(MEMORY_VARIABLE, 1024, int),
            )
            atexit.register(_shared.close)
        return _shared


def workers_for(processes: int) -> int:
    """Workers in the pool of each of so many processes that grade on this machine at once, at least one.

    They share what MARGE_GRADER_WORKERS says, or the cores. ValueError when that is not a number above 0.
    """
    if "MARGE_GRADER_WORKERS" in os.environ:
        return max(1, int(_setting("MARGE_GRADER_WORKERS", 1, int)) // processes)
    return min(max(1, usable_cores() // processes), MOST_WORKERS)


def usable_cores() -> int:
    """Cores that this process may run on: a batch system or a container may leave it some of the machine's."""
    if hasattr(os, "sched_getaffinity"):  # Linux
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _setting(name: str, default: float, kind: type) -> float:
    text = os.environ.get(name, str(default))
    with suppress(ValueError):
        if 0 < kind(text) < math.inf:
            return kind(text)
    raise ValueError(f"{name}={text!r} is not a {'whole ' if kind is int else ''}number above 0: set one or unset it")


def _new_lock() -> None:
    """A forked child finds locks as the fork left them."""
    global _shared_lock
    _shared_lock = threading.Lock()


_shared: GraderPool | None = None
_shared_lock = threading.Lock()
os.register_at_fork(after_in_child=_new_lock)
