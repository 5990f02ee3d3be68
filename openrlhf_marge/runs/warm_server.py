"""A process that loads the stack once and forks the commands that ``warm_client.py`` hands to it.

Every process of a run loads PyTorch, DeepSpeed, vLLM and OpenRLHF: 13 to 18 seconds of a core each, several times
over in a run, and more than all the rest where the model is tiny. A fork has them in a moment, and shares their
memory. The modules are the caller's to name; they are loaded and nothing of them is run.

    python -m openrlhf_marge.runs.warm_server SOCKET MODULE ...

It ends, and with it all that it forked, when its standard input does: with the process that started it.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import multiprocessing
import os
import selectors
import shlex
import signal
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass

from openrlhf_marge.runs.warm_client import PYTHON, SOCKET, read_at_import, receive, send, warmed
from openrlhf_marge.runs.warm_fork import become

MOST_FILES = 250  # of a message on a socket


@dataclass(frozen=True)
class Child:
    """A command that runs: its process, and the connection on which its client waits for the end."""

    pid: int
    connection: socket.socket


class WarmServer:
    """Takes commands on ``listener``, which may have been connected to before anything was loaded."""

    def __init__(self, listener: socket.socket, lifeline: int, before: Mapping[str, str]) -> None:
        """``before`` is the environment in which the libraries were loaded; some of them set variables then."""
        self._listener, self._lifeline = listener, lifeline
        self._loaded_with = read_at_import(before)
        self._set_by_loading = {name: value for name, value in os.environ.items() if before.get(name) != value}
        self._selector = selectors.DefaultSelector()
        self._selector.register(listener, selectors.EVENT_READ, None)
        self._selector.register(lifeline, selectors.EVENT_READ, None)
        self._children: dict[int, Child] = {}  # pidfd -> the child

    def serve(self) -> None:
        """Return when the lifeline ends, with all children killed."""
        try:
            while True:
                for key, _ in self._selector.select():
                    if key.fd == self._lifeline:
                        return
                    if key.fileobj is self._listener:
                        self._accept()
                    elif key.fd in self._children:
                        self._ended(key.fd)
                    elif key.data in self._children:  # nothing but its end comes from a client that waits
                        signal.pidfd_send_signal(key.data, signal.SIGKILL)
                        self._selector.unregister(key.fileobj)
                    # else both ended at once, and the connection is closed already
        finally:
            for descriptor in self._children:
                signal.pidfd_send_signal(descriptor, signal.SIGKILL)

    def _accept(self) -> None:
        connection, _ = self._listener.accept()
        _, files, *_ = socket.recv_fds(connection, 1, MOST_FILES)
        request = receive(connection)
        if request is None:
            connection.close()
        elif names := self._differing(request["environment"]):
            with contextlib.suppress(OSError):  # of a client that is gone
                send(connection, {"cold": f"{names} is not as when the server loaded"})
            connection.close()
        elif (pid := os.fork()) == 0:
            self._close()
            become(request, files, self._set_by_loading)
        else:
            self._watch(Child(pid, connection))
        for file in files:
            os.close(file)

    def _differing(self, environment: Mapping[str, str]) -> str:
        """Names of the variables with which a library would have been loaded in another way."""
        differing = self._loaded_with.items() ^ read_at_import(environment).items()
        return ", ".join(sorted({name for name, _ in differing}))

    def _watch(self, child: Child) -> None:
        descriptor = os.pidfd_open(child.pid)
        self._children[descriptor] = child
        self._selector.register(descriptor, selectors.EVENT_READ, None)
        self._selector.register(child.connection, selectors.EVENT_READ, descriptor)
        with contextlib.suppress(OSError):  # of a client that is gone, whose end is seen next
            send(child.connection, {"pid": child.pid})

    def _ended(self, descriptor: int) -> None:
        child = self._children.pop(descriptor)
        _, status = os.waitpid(child.pid, 0)
        self._selector.unregister(descriptor)
        os.close(descriptor)
        with contextlib.suppress(OSError, KeyError):  # of a client that is gone
            self._selector.unregister(child.connection)
            code = os.waitstatus_to_exitcode(status)
            send(child.connection, {"status": max(code, 0), "signal": max(-code, 0)})
        child.connection.close()

    def _close(self) -> None:
        """In a fork: what was open is the server's."""
        self._selector.close()
        self._listener.close()
        for descriptor, child in self._children.items():
            child.connection.close()
            os.close(descriptor)
        self._children.clear()


def write_python(path: str) -> None:
    """An executable that stands for this interpreter where only a path can be given, as in multiprocessing."""
    words = shlex.join(warmed([sys.executable], {SOCKET: path}))
    with open(path + PYTHON, "w", encoding="utf-8") as file:
        file.write(f'#!/bin/sh\nexec {words} "$@"\n')
    os.chmod(file.name, 0o700)


def main() -> None:
    path, *modules = sys.argv[1:]
    before = dict(os.environ)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(64)
        write_python(path)
        for module in modules:
            importlib.import_module(module)
        for stream in (sys.stdout, sys.stderr):
            stream.flush()  # what was printed while loading is no output of the forks
        multiprocessing.set_executable(path + PYTHON)  # what the commands spawn begins loaded, too
        gc.freeze()  # so that collecting in a fork copies no page of what was loaded
        WarmServer(listener, sys.stdin.fileno(), before).serve()
    os._exit(0)  # nothing is left to do, and some libraries complain about what was loaded and not used


if __name__ == "__main__":
    main()
