"""Ray's workers of a cluster on CPUs as forks of a process that has loaded the stack (``warm_server.py``)."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from openrlhf_marge.host.standalone import warm_client

SOCKET = "MARGE_WARM_START"  # the variable that names the server's socket
# What the actors of a run load; the launch script's own process loads no more.
MODULES = (
    "openrlhf.cli.train_ppo_ray",
    "openrlhf.trainer.ppo_trainer_async",
    "openrlhf.trainer.ray.ppo_actor",
    "openrlhf.trainer.ray.ppo_critic",
    "openrlhf.trainer.ray.vllm_engine",
)


@contextmanager
def warm_start(environment: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """The variables that let Ray's workers, and commands started with ``warm_command``, begin loaded."""
    with tempfile.TemporaryDirectory(prefix="marge_warm_") as folder:  # ours alone, as whoever connects runs code
        path = os.path.join(folder, "socket")
        command = [sys.executable, "-m", "openrlhf_marge.host.standalone.warm_server", path, *MODULES]
        server = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, start_new_session=True)
        while not os.path.exists(path) and server.poll() is None:
            time.sleep(0.01)
        try:
            yield {SOCKET: path, "RAY_RUNTIME_ENV_HOOK": f"{__name__}.warm_workers"}
        finally:
            server.stdin.close()
            server.wait()


def warm_workers(runtime_env: dict[str, Any] | None) -> dict[str, Any]:
    """What Ray asks for every job's runtime environment (RAY_RUNTIME_ENV_HOOK): its workers begin loaded."""
    return {"py_executable": " ".join(warm_command(os.environ)), **(runtime_env or {})}


def warm_command(environment: Mapping[str, str]) -> list[str]:
    """What stands before a script, or -m and a module, in place of the interpreter."""
    if SOCKET not in environment:
        return [sys.executable]
    return [sys.executable, "-S", str(Path(warm_client.__file__)), environment[SOCKET]]
