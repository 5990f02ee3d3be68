"""What a fork of ``warm_server.py`` does: it takes a command's files, arguments, variables and folder, and runs it."""

from __future__ import annotations

import atexit
import fcntl
import io
import os
import random
import runpy
import sys
import threading
import types
from typing import Any, NoReturn, cast


def become(request: dict[str, Any], files: list[int], set_by_loading: dict[str, str]) -> NoReturn:
    """Turn this fork into the command of the request, and end it as the interpreter ends a command.

    ``files`` are those of the client, open under other numbers; the variables were set as the libraries loaded.
    """
    os.setsid()
    above = max(*request["files"], *files) + 1
    for number, file in zip(request["files"], [fcntl.fcntl(f, fcntl.F_DUPFD, above) for f in files], strict=True):
        os.dup2(file, number)
        os.close(file)
    for file in set(files) - set(request["files"]):
        os.close(file)
    cast(io.TextIOWrapper, sys.stdout).reconfigure(line_buffering=True)
    try:
        status = run(request["argv"], request["environment"] | set_by_loading, request["folder"])
    except Exception:  # noqa: BLE001 - as the interpreter does
        sys.excepthook(*sys.exc_info())
        status = 1
    # As multiprocessing ends its forks: what was loaded and not used has nothing to tidy up.
    threading._shutdown()  # type: ignore[attr-defined]  # private
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        if not stream.closed:
            stream.flush()
    os._exit(status)


def run(argv: list[str], environment: dict[str, str], folder: str) -> int:
    """The exit status of a command in this process."""
    # Only what differs: a process is given its title in the memory of its first arguments and variables.
    for name in os.environ.keys() - environment.keys():
        del os.environ[name]
    os.environ.update({name: value for name, value in environment.items() if os.environ.get(name) != value})
    os.chdir(folder)
    random.seed()
    kind, *rest = argv
    sys.path[0] = folder if kind in ("-m", "-c") else os.path.dirname(os.path.abspath(kind))
    try:
        if kind == "-m":
            sys.argv = rest
            runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
        elif kind == "-c":
            sys.argv = [kind, *rest[1:]]
            main_module = sys.modules["__main__"] = types.ModuleType("__main__")
            exec(compile(rest[0], "<string>", "exec"), main_module.__dict__)
        else:
            sys.argv = argv
            runpy.run_path(kind, run_name="__main__")
    except SystemExit as e:
        if e.code is not None and not isinstance(e.code, int):
            print(e.code, file=sys.stderr)
            return 1
        return e.code or 0
    return 0
