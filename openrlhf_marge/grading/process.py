"""One killable process that compares two answers, seen from the side of its parent."""

from __future__ import annotations

import json
import signal
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection

from openrlhf_marge.grading.errors import GraderUnavailable, GradingFailed, GradingTimeout, Unparsable
from openrlhf_marge.grading.fork_server import ForkServer

SHOWN_CHARS = 80  # of a string, in a message
MEMORY_VARIABLE = "MARGE_GRADER_MEMORY_MIB"
WALL_FACTOR, LEAST_WALL_SECONDS = 120, 120.0  # per CPU second: a worker that gets a 120th of a core, or sleeps
KILLED = (-signal.SIGKILL, -signal.SIGXCPU)  # by the system, for memory, or by somebody: nothing that an answer can do


@dataclass
class TimeLeft:
    """Time of one answer, over all its comparisons: CPU seconds left, and wall-clock seconds waited for a process."""

    left: float
    waited: float = 0.0


class Died(GradingFailed):
    """The worker ended or ran out of memory: by this comparison, or by something before it."""


class Lost(GraderUnavailable):
    """The worker was killed from outside."""


class Worker:
    """A copy of the server's warm process, made when first needed; used by one thread at a time.

    ``seconds`` of CPU are for one answer.
    """

    pid: int | None = None
    starts = 0

    def __init__(self, server: ForkServer, seconds: float, memory_mib: int) -> None:
        self._server, self.seconds, self.memory_mib = server, seconds, memory_mib
        self.wall_seconds = max(LEAST_WALL_SECONDS, seconds * WALL_FACTOR)
        self._pipe: Connection | None = None

    def start(self) -> None:
        """Make the process, unless there is one; GraderUnavailable when that cannot be done."""
        if self.pid is None:
            self.pid, self._pipe = self._server.fork()
            self.starts += 1

    def stop(self) -> int:
        """Kill the process and wait for its end; returns its exit status."""
        pid, self.pid = self.pid, None
        self._pipe.close()
        return self._server.end(pid)

    def forget(self) -> None:
        """In a forked child: close what belongs to the parent."""
        if self._pipe is not None:
            self._pipe.close()

    def ask(self, pair: tuple[str, str], budget: TimeLeft) -> bool | Exception:
        """The verdict, or the GradingTimeout or Unparsable in its place.

        Died or Lost when the process ended over it, GradingFailed when the comparison raised, GraderUnavailable when
        the process got no time on this machine.
        """
        if budget.left <= 0:
            return self._timeout(pair)
        self.start()
        request = {"answer": pair[0], "gold": pair[1], "seconds": budget.left}
        reply, silent = None, False
        try:
            with suppress(EOFError, OSError):  # how it ended is asked below
                self._pipe.send_bytes(json.dumps(request).encode())
                silent = not self._pipe.poll(self.wall_seconds)
                reply = None if silent else json.loads(self._pipe.recv_bytes())
        finally:  # also when the caller is interrupted: a process that owes an answer is never asked again
            status = self.stop() if reply is None else None
        if reply is None:
            return self._without_reply(pair, budget, status, silent)
        budget.left -= reply.pop("seconds")
        return self._outcome(pair, **reply)

    def _without_reply(self, pair: tuple[str, str], budget: TimeLeft, status: int, silent: bool) -> GradingTimeout:
        if status == -signal.SIGPROF:
            budget.left = 0.0
            return self._timeout(pair)
        if silent:
            raise GraderUnavailable(
                f"the grading worker did not get its {self.seconds:g} s of CPU within {self.wall_seconds:g} s, "
                f"comparing {shown(pair)}: this machine is too busy, so set fewer MARGE_GRADER_WORKERS"
            )
        signalled = f"was ended by signal {-status} ({signal.strsignal(-status)})" if status < 0 else ""
        how = f"the grading worker {signalled or f'ended with status {status}'}, comparing {shown(pair)}"
        if status in KILLED:
            raise Lost(f"{how}: set fewer MARGE_GRADER_WORKERS if this machine ran out of memory")
        raise Died(how)

    def _timeout(self, pair: tuple[str, str]) -> GradingTimeout:
        return GradingTimeout(f"no verdict within {self.seconds:g} s of CPU for one answer, last on {shown(pair)}")

    def _outcome(self, pair, equal: bool | None = None, unparsable: str = "", error: str = "") -> bool | Exception:
        if error.startswith("MemoryError"):  # what came before may have filled it
            self.stop()
            limit = f"{self.memory_mib} MiB ({MEMORY_VARIABLE} sets more)"
            raise Died(f"the grading worker ran out of its {limit}, comparing {shown(pair)}")
        if error:
            raise GradingFailed(f"comparing {shown(pair)} raised {error}")
        return Unparsable(unparsable) if equal is None else equal


def shown(pair: tuple[str, str]) -> str:
    answer, gold = (text if len(text) <= SHOWN_CHARS else text[:SHOWN_CHARS] + "..." for text in pair)
    return f"{answer!r} with {gold!r}"
