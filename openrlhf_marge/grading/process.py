"""One killable process that compares two answers, seen from the side of its parent."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Pipe

from openrlhf_marge.grading.errors import GradingFailed, GradingTimeout, Unparsable

SHOWN_CHARS = 80  # of a string, in a message
MEMORY_VARIABLE = "MARGE_GRADER_MEMORY_MIB"


@dataclass
class Budget:
    """Seconds of computing that one answer has left, over all its comparisons."""

    left: float


class Died(GradingFailed):
    """The worker ended or ran out of memory: by this comparison, or by something before it."""


class Worker:
    """One process, started when first needed; used by one thread at a time, but any may ``stop`` it."""

    process: subprocess.Popen | None = None
    ready = False
    spent = False  # from a request until its answer: a process that still owes one is never asked again

    def __init__(self, seconds: float, memory_mib: int, start_seconds: float, function: str) -> None:
        self.seconds, self.start_seconds, self.memory_mib = seconds, start_seconds, memory_mib
        self.options = [f"--seconds={seconds}", f"--memory-mib={memory_mib}", f"--function={function}"]

    def start(self) -> None:
        """Start the process, not waiting until it is ready; OSError when the system cannot."""
        self.pipe, theirs = Pipe()
        self.log = tempfile.TemporaryFile()  # noqa: SIM115  # what it writes until it is ready, closed then
        own = [f"--fd={theirs.fileno()}", f"--parent={os.getpid()}"]
        command = [sys.executable, "-m", "openrlhf_marge.grading.worker", *own, *self.options]
        # It finds the modules that this process finds, and hashes alike in every run.
        path = os.pathsep.join(folder or "." for folder in sys.path)
        env = os.environ | {"PYTHONPATH": path, "PYTHONSAFEPATH": "1", "PYTHONHASHSEED": "0"}
        files = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": self.log}
        with theirs:
            pass_fds = [theirs.fileno()]
            self.process = _by_lasting_thread(lambda: subprocess.Popen(command, env=env, pass_fds=pass_fds, **files))
        self.ready = self.spent = False

    def stop(self) -> None:
        """Kill the process, if there is one, and wait for its end."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def ask(self, pair: tuple[str, str], budget: Budget) -> bool | Exception:
        """The verdict, or the GradingTimeout or Unparsable in its place; GradingFailed when there is none."""
        self.spent = True
        try:
            if not self.ready:
                self._await_ready()
            self.pipe.send_bytes(json.dumps(dict(zip(("answer", "gold"), pair, strict=True))).encode())
            started = time.monotonic()
            reply = json.loads(self.pipe.recv_bytes()) if self.pipe.poll(max(0.0, budget.left)) else None
            budget.left -= time.monotonic() - started
        except (EOFError, OSError) as error:
            how = self._how_it_ended()
            if self.process.returncode != -signal.SIGXCPU:  # its own limit, should this thread have come late
                raise Died(f"the grading worker {how}, comparing {shown(pair)}") from error
            reply = None
        if reply is None:
            return GradingTimeout(f"no verdict within {self.seconds:g} s for one answer, last on {shown(pair)}")
        return self._outcome(pair, **reply)

    def _outcome(self, pair, equal: bool | None = None, unparsable: str = "", error: str = "") -> bool | Exception:
        if error.startswith("MemoryError"):  # what came before may have filled it: spent
            limit = f"{self.memory_mib} MiB ({MEMORY_VARIABLE} sets more)"
            raise Died(f"the grading worker ran out of its {limit}, comparing {shown(pair)}")
        self.spent = False
        if error:
            raise GradingFailed(f"comparing {shown(pair)} raised {error}")
        return Unparsable(unparsable) if equal is None else equal

    def _await_ready(self) -> None:
        if not self.pipe.poll(self.start_seconds):
            raise GradingFailed(f"the grading worker was not ready within {self.start_seconds:g} s: give it longer")
        self.pipe.recv_bytes()
        self.ready = True
        self.log.close()

    def _how_it_ended(self) -> str:
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout=5)
        code = self.process.returncode
        signalled = code is not None and code < 0
        how = f"was ended by signal {-code} ({signal.strsignal(-code)})" if signalled else f"ended with status {code}"
        if self.ready:
            return how
        self.log.seek(0)
        return f"{how} at its start: {self.log.read().decode(errors='replace').strip()[-500:]}"


def shown(pair: tuple[str, str]) -> str:
    answer, gold = (text if len(text) <= SHOWN_CHARS else text[:SHOWN_CHARS] + "..." for text in pair)
    return f"{answer!r} with {gold!r}"


_starts: queue.SimpleQueue | None
_starts_lock: threading.Lock


def _by_lasting_thread(start: Callable[[], subprocess.Popen]) -> subprocess.Popen:
    """Call ``start`` in a thread that lasts: Linux kills a worker when the thread that started it ends."""
    global _starts
    with _starts_lock:
        if _starts is None:
            starts: queue.SimpleQueue = queue.SimpleQueue()
            threading.Thread(target=_serve_starts, args=(starts,), name="marge-grader-starts", daemon=True).start()
            _starts = starts
    result: Future[subprocess.Popen] = Future()
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
