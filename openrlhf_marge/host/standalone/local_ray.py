"""A Ray cluster of one machine without GPUs, for the quickstart and the tests.

OpenRLHF asks Ray for GPUs, so Ray is told of some that are not there. The cluster belongs to the process that opens
it: leaving the context stops it, and when that process dies in any way, Ray's processes die with it. Whoever may join
a Ray cluster can run code on it. Joining therefore needs a token, which this process and commands with its environment
have.
"""

from __future__ import annotations

import logging
import os
import secrets
import signal
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from openrlhf_marge.host.standalone.warm_start import warm_start
from openrlhf_marge.runs.cpu import cpu_environment

OBJECT_STORE_BYTES = 500 * 1024**2
STARTS = 3  # Ray gives its processes 30 seconds to answer, which a busy machine may not do
AUTHENTICATION = ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")


def needs_local_ray() -> bool:
    """Whether a command has neither GPUs, as DS_ACCELERATOR says, nor a cluster that RAY_ADDRESS names."""
    return os.environ.get("DS_ACCELERATOR") == "cpu" and not os.environ.get("RAY_ADDRESS")


@contextmanager
def local_ray(num_gpus: int = 4, num_cpus: int = 12) -> Iterator[dict[str, str]]:
    """Open a cluster; yields the environment for commands that shall run on it (``RAY_ADDRESS`` and its token set)."""
    environment = {name: value for name, value in cpu_environment().items() if name not in AUTHENTICATION}
    os.environ.update(environment)  # Ray's workers inherit it
    os.environ.pop("RAY_ADDRESS", None)
    with _token() as token, warm_start(environment) as warm:
        import ray

        context = _start(
            address="local",
            num_cpus=num_cpus,
            num_gpus=num_gpus,
            include_dashboard=False,
            object_store_memory=OBJECT_STORE_BYTES,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
        try:
            yield environment | token | warm | {"RAY_ADDRESS": context.address_info["gcs_address"]}
        finally:
            ray.shutdown()


class NotStarted(RuntimeError):
    """Ray's processes did not answer in time."""


def _start(**options: Any) -> Any:
    """``init_ray``, again where Ray's processes did not answer in time; what is left of these is ended first."""
    for number in range(2, STARTS + 1):
        try:
            return init_ray(**options)
        except NotStarted as e:
            print(f"{e}; start {number} of {STARTS}", file=sys.stderr, flush=True)
            for frame, _ in traceback.walk_tb(e.__cause__.__traceback__ if e.__cause__ else None):
                if hasattr(node := frame.f_locals.get("self"), "kill_all_processes"):
                    node.kill_all_processes(check_alive=False, wait=True)
    return init_ray(**options)


def init_ray(**options: Any) -> Any:
    """``ray.init``, whose RayContext is a class that Ray keeps private, with this process's own handler of SIGTERM.

    With Ray's own a SIGTERM aborts the process after 3 seconds, whatever it still has to end. NotStarted where Ray
    raises a bare Exception, as when its processes do not answer in time on a busy machine.
    """
    import ray

    handler = signal.getsignal(signal.SIGTERM)
    try:
        context = ray.init(**options)
    except (OSError, RuntimeError, ValueError):
        raise
    except Exception as e:
        raise NotStarted(f"Ray did not start: {e}") from e
    if callable(handler) and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, handler)
    return context


@contextmanager
def _token() -> Iterator[dict[str, str]]:
    """Let Ray ask everyone for a new token, which other users cannot read: it is in the environment alone."""
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    before = {name: os.environ.pop(name) for name in AUTHENTICATION if name in os.environ}
    os.environ.update(token)
    _read_authentication()
    try:
        yield token
    finally:
        for name in token:
            os.environ.pop(name, None)
        os.environ.update(before)
        _read_authentication()


def _read_authentication() -> None:
    """Let Ray in this process look at the environment again, which it has kept if another cluster was there before."""
    from ray._raylet import AuthenticationTokenLoader, Config  # type: ignore[attr-defined]  # not in Ray's stub

    AuthenticationTokenLoader.instance().reset_cache()
    Config.initialize("")
