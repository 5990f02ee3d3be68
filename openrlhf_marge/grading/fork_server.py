"""The warm process that all workers of a pool are copies of, seen from the side of its parent.

The parent is one of many threads of a process that may hold vLLM. A forked copy of it can deadlock, and
multiprocessing's spawn and forkserver import the user's script again and exist once per process, so the warm process
is a plain subprocess with a pipe.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress
from multiprocessing.connection import Connection, Pipe
from multiprocessing.reduction import send_handle
from typing import Any

from openrlhf_marge.grading.errors import GraderUnavailable
from openrlhf_marge.grading.lasting_thread import by_lasting_thread

END_SECONDS = 10  # for a warm process to end its copies and itself


class ForkServer:
    """Started when the first copy is needed, which takes seconds; every method may be called from any thread.

    ``start_seconds`` is the wall-clock time for that, ``memory_mib`` the address space of a copy, ``function``
    ("module:name") what a copy computes.
    """

    def __init__(self, start_seconds: float, memory_mib: int, function: str) -> None:
        self._start_seconds = start_seconds
        self._options = [f"--memory-mib={memory_mib}", f"--function={function}"]
        self._lock = threading.Lock()
        self._process: subprocess.Popen | None = None
        self._control: Connection | None = None  # once it is ready
        self._closed = False

    def fork(self) -> tuple[int, Connection]:
        """Process id and pipe of a new copy; GraderUnavailable when there cannot be one."""
        with self._lock:
            for again in (True, False):
                try:
                    return self._fork()
                except (EOFError, OSError) as error:
                    if not again:  # one that somebody killed is replaced
                        raise GraderUnavailable(f"the grader cannot start its processes: {error!r}") from error

    def end(self, pid: int) -> int:
        """Kill a copy, unless it has ended, and wait for its end; returns its exit status, negative for a signal."""
        with self._lock, suppress(EOFError, OSError):
            if self._control is not None:
                return self._asked({"end": pid})
        return -signal.SIGKILL  # its warm process is gone, and took it along

    def close(self) -> None:
        """End the warm process and all copies."""
        self._closed = True
        if self._process is not None and self._control is None:
            self._process.kill()  # another thread waits for its start, under the lock
        with self._lock:
            self._stop()

    def forget(self) -> None:
        """In a forked child: close what belongs to the parent."""
        if self._control is not None:
            self._control.close()

    def _fork(self) -> tuple[int, Connection]:
        if self._closed:
            raise GraderUnavailable("the pool of graders is closed: make a new one")
        if self._control is None:
            self._start()
        ours, theirs = Pipe()
        with theirs:
            return self._asked("fork", theirs), ours

    def _asked(self, request: Any, pipe: Connection | None = None) -> Any:
        """The answer of the warm process; one that still owes an answer is never asked again."""
        try:
            self._control.send_bytes(json.dumps(request).encode())
            if pipe is not None:
                send_handle(self._control, pipe.fileno(), self._process.pid)
            if not self._control.poll(self._start_seconds):
                raise TimeoutError(f"no answer within {self._start_seconds:g} s")
            return json.loads(self._control.recv_bytes())
        except BaseException:
            self._stop()
            raise

    def _start(self) -> None:
        control, theirs = Pipe()
        command = [sys.executable, "-m", "openrlhf_marge.grading.worker", f"--fd={theirs.fileno()}"]
        command += [f"--parent={os.getpid()}", *self._options]
        # It finds the modules that this process finds, and hashes alike in every run.
        path = os.pathsep.join(folder or "." for folder in sys.path)
        env = os.environ | {"PYTHONPATH": path, "PYTHONSAFEPATH": "1", "PYTHONHASHSEED": "0"}
        with tempfile.TemporaryFile() as log:  # what it writes until it is ready
            files = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": log}
            with theirs:
                fds = [theirs.fileno()]
                self._process = by_lasting_thread(lambda: subprocess.Popen(command, env=env, pass_fds=fds, **files))
            try:
                if not control.poll(self._start_seconds):
                    raise GraderUnavailable(f"the grader's process was not ready within {self._start_seconds:g} s")
                control.recv_bytes()
                self._control = control
            except (EOFError, OSError):
                status = self._process.wait()
                log.seek(0)
                said = log.read().decode(errors="replace").strip()[-500:]
                raise GraderUnavailable(f"the grader's process ended at its start, status {status}: {said}") from None
            finally:
                if self._control is None:
                    self._process.kill()
                    self._process.wait()

    def _stop(self) -> None:
        if self._control is not None:
            self._control.close()  # tells it to end
            self._control = None
        if self._process is not None:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(END_SECONDS)
            self._process.kill()
            self._process.wait()
