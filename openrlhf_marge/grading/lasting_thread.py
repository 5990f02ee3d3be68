"""A thread that lasts as long as its process, for work that must not start in a shorter-lived thread."""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from subprocess import Popen

_starts: queue.SimpleQueue | None
_starts_lock: threading.Lock


def by_lasting_thread(start: Callable[[], Popen]) -> Popen:
    """Call ``start`` in a thread that lasts: Linux kills a worker when the thread that started it ends."""
    global _starts
    with _starts_lock:
        if _starts is None:
            starts: queue.SimpleQueue = queue.SimpleQueue()
            threading.Thread(target=_serve_starts, args=(starts,), name="marge-grader-starts", daemon=True).start()
            _starts = starts
    result: Future[Popen] = Future()
    _starts.put((start, result))
    return result.result()


def _serve_starts(starts: queue.SimpleQueue) -> None:
    while True:
        start, result = starts.get()
        try:
            result.set_result(start())
        except Exception as error:  # noqa: BLE001  # raised where the result is awaited
            result.set_exception(error)


def _forget_thread() -> None:
    """A forked child does not have it."""
    global _starts, _starts_lock
    _starts, _starts_lock = None, threading.Lock()


_forget_thread()
os.register_at_fork(after_in_child=_forget_thread)
