"""The grader's processes from inside: a warm one, and its copies, each comparing two untrusted strings at a time.

Started by ``fork_server.py`` as ``python -m openrlhf_marge.grading.worker``. Importing and warming up take seconds of
CPU, a copy milliseconds; the warm process computes in no other thread, so that forking it is safe. Messages are JSON
over pipes. To the warm process: "fork", followed by the copy's pipe, or {"end": pid}. To a copy: {"answer", "gold",
"seconds"}; it replies {"seconds"}, the CPU time used, with one of {"equal"}, {"unparsable"} and {"error"}.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import importlib
import json
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from multiprocessing.reduction import recv_handle

PR_SET_PDEATHSIG = 1
RECURSION_LIMIT = 3000  # three times Python's own; the C stack of 8 MiB holds it in every Python from 3.10 on
MESSAGE_CHARS = 300  # of an error's text


def main() -> None:
    """Load the comparison, warm it up and make copies until the pipe is closed."""
    settings = _arguments()
    end_with_parent(settings.parent)
    # Ctrl-C goes to the whole terminal group, and what it means is the parent's decision. No session of its own:
    # whoever kills the job's process group shall reach the worker as well.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])  # a mask is inherited from the thread that starts a process
    limit(resource.RLIMIT_CORE, 0)
    sys.setrecursionlimit(RECURSION_LIMIT)
    module, _, name = settings.function.partition(":")
    function = getattr(importlib.import_module(module), name)
    getattr(sys.modules[module], "warm_up", lambda: None)()
    gc.collect()
    gc.freeze()  # a collection in a copy would touch, and so duplicate, the memory that all share
    with Connection(settings.fd) as control:
        control.send_bytes(b'"ready"')
        # What broke the start is in the parent's file by now; warnings over answers would fill it without end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        serve(control, lambda fd: work(fd, function, settings.memory_mib))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="openrlhf_marge.grading.worker")
    parser.add_argument("--fd", type=int, required=True, help="inherited end of the pipe")
    parser.add_argument("--parent", type=int, required=True, help="process id of the pool")
    parser.add_argument("--memory-mib", type=int, required=True, help="address space of a copy")
    parser.add_argument("--function", required=True, help="module:name of the comparison")
    return parser.parse_args()


def serve(control: Connection, run: Callable[[int], None]) -> None:
    """Fork copies, which ``run``, and end them, as asked; what is left when the pipe closes is ended, too."""
    copies: set[int] = set()
    with suppress(EOFError, ConnectionError):
        while True:
            request = json.loads(control.recv_bytes())
            if request == "fork":
                copies.add(answer := _fork(control, recv_handle(control), run))
            elif (pid := request["end"]) in copies:
                copies.remove(pid)
                answer = end(pid)
            else:  # of a warm process before this one, and ended with it; the id may be anyone's by now
                answer = -signal.SIGKILL
            control.send_bytes(json.dumps(answer).encode())
    for pid in copies:
        end(pid)


def _fork(control: Connection, fd: int, run: Callable[[int], None]) -> int:
    me = os.getpid()
    if pid := os.fork():
        os.close(fd)
        return pid
    try:
        control.close()
        end_with_parent(me)
        run(fd)
    finally:  # whatever happens, a copy never goes on as the warm process
        os._exit(0)


def end(pid: int) -> int:
    """Kill the child ``pid``, unless it has ended, and forget it; its exit status, negative for a signal."""
    os.kill(pid, signal.SIGKILL)  # no other process can have this id before the child is waited for
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def work(fd: int, function: Callable[..., bool], memory_mib: int) -> None:
    """Compare what comes over the pipe until it is closed, within limits that the kernel enforces."""
    limit(resource.RLIMIT_AS, memory_mib * 1024**2)
    with Connection(fd) as pipe, suppress(EOFError, ConnectionError):
        while True:
            request = json.loads(pipe.recv_bytes())
            started = time.process_time()
            signal.setitimer(signal.ITIMER_PROF, request.pop("seconds"))  # of CPU; then SIGPROF ends the process
            message = reply(function, request)
            signal.setitimer(signal.ITIMER_PROF, 0)
            pipe.send_bytes(json.dumps(message | {"seconds": time.process_time() - started}).encode())


def end_with_parent(parent: int) -> None:
    """Let no end of the process ``parent``, not even by SIGKILL, leave this one computing."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL))
    else:
        threading.Thread(target=_watch, args=(parent,), daemon=True).start()
    if os.getppid() != parent:  # it ended before the line above
        os._exit(1)


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def limit(kind: int, value: int) -> None:
    """Set the soft limit ``kind``, never above what the hard limit allows; not every system knows every limit."""
    with suppress(ValueError, OSError):
        _, hard = resource.getrlimit(kind)
        resource.setrlimit(kind, (value if hard == resource.RLIM_INFINITY else min(value, hard), hard))


def reply(function: Callable[..., bool], request: dict) -> dict:
    """The message that answers ``request``; whatever ``function`` raises becomes one."""
    try:
        return {"equal": bool(function(**request))}
    except ValueError as error:
        return {"unparsable": str(error)[:MESSAGE_CHARS]}
    except Exception as error:  # noqa: BLE001  # strings made by a model find every error that sympy has
        return {"error": f"{type(error).__name__}: {error}"[:MESSAGE_CHARS]}


if __name__ == "__main__":
    main()
