"""One process of the pool: compares two untrusted strings at a time, under limits that the kernel enforces.

Started by ``pool.py`` as ``python -m openrlhf_marge.grading.worker``. Messages are JSON over one pipe: ``{}`` when it
is ready, then for each ``{"answer", "gold"}`` one of ``{"equal"}``, ``{"unparsable"}`` and ``{"error"}``.
"""

from __future__ import annotations

import argparse
import ctypes
import importlib
import json
import math
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection

PR_SET_PDEATHSIG = 1
RECURSION_LIMIT = 3000  # three times Python's own; the C stack of 8 MiB holds it in every Python from 3.10 on
MESSAGE_CHARS = 300  # of an error's text
CPU_SPARE_SECONDS = 2  # the pool's own limit, in wall-clock seconds, is the one that shall count


def main() -> None:
    """Serve requests until the pipe is closed."""
    settings = _arguments()
    end_with_parent(settings.parent)
    # Ctrl-C goes to the whole terminal group, and what it means is the parent's decision. No session of its own:
    # whoever kills the job's process group shall reach the worker as well.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGXCPU, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])  # a mask is inherited from the thread that starts a process
    limit(resource.RLIMIT_CORE, 0)
    limit(resource.RLIMIT_AS, settings.memory_mib * 1024**2)
    sys.setrecursionlimit(RECURSION_LIMIT)
    module, _, name = settings.function.partition(":")
    function = getattr(importlib.import_module(module), name)
    getattr(sys.modules[module], "warm_up", lambda: None)()
    with Connection(settings.fd) as pipe, suppress(EOFError, ConnectionError):
        pipe.send_bytes(b"{}")
        # What broke the start is in the parent's file by now; warnings over answers would fill it without end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        while True:
            request = json.loads(pipe.recv_bytes())
            limit(resource.RLIMIT_CPU, math.ceil(time.process_time() + settings.seconds) + CPU_SPARE_SECONDS)
            pipe.send_bytes(json.dumps(reply(function, request)).encode())


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="openrlhf_marge.grading.worker")
    parser.add_argument("--fd", type=int, required=True, help="inherited end of the pipe")
    parser.add_argument("--parent", type=int, required=True, help="process id of the pool")
    parser.add_argument("--seconds", type=float, required=True, help="time for one request")
    parser.add_argument("--memory-mib", type=int, required=True, help="address space")
    parser.add_argument("--function", required=True, help="module:name of the comparison")
    return parser.parse_args()


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
