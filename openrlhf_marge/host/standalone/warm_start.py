"""Ray's workers of a cluster on CPUs as forks of a process that has loaded the stack (``runs/warm_server.py``)."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from openrlhf_marge.runs.warm_client import SOCKET, warmed

HOOK = "RAY_RUNTIME_ENV_HOOK"
# What processes of a run load, but for Ray, which reads a worker's job from the environment when it is loaded, and for
# what loads Ray.
MODULES = (
    "transformers.trainer",
    "deepspeed",
    "datasets",
    "peft",
    "torch.utils.tensorboard",
    "vllm.engine.arg_utils",
    "vllm.v1.worker.cpu_worker",
    "vllm.model_executor.models.qwen2",
)


@contextmanager
def warm_start(environment: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """The variables that let Ray's workers, and commands passed through ``warmed``, begin loaded.

    A server that ``environment`` names is used; otherwise there is one of our own until the context ends. What the
    libraries say while they are loaded is shown at the end, and only if the server failed.
    """
    if SOCKET in environment:
        yield {name: environment[name] for name in (SOCKET, HOOK)}
        return
    with tempfile.TemporaryDirectory(prefix="marge_warm_") as folder:  # ours alone, as whoever connects runs code
        path, log = os.path.join(folder, "socket"), Path(folder, "log")
        command = [sys.executable, "-m", "openrlhf_marge.runs.warm_server", path, *MODULES]
        with log.open("wb") as sink:
            server = subprocess.Popen(
                command, env=environment, stdin=subprocess.PIPE, stdout=sink, stderr=sink, start_new_session=True
            )
        while not os.path.exists(path) and server.poll() is None:
            time.sleep(0.01)
        assert server.stdin is not None, "it is a pipe"
        try:
            yield {SOCKET: path, HOOK: f"{__name__}.warm_workers"}
        finally:
            server.stdin.close()
            if status := server.wait():
                said = log.read_text(errors="replace").rstrip()
                cause = f"the server ended with exit code {status}, and commands after that started cold"
                print(f"warm start: {cause}; it said:\n{said}", file=sys.stderr, flush=True)


def warm_workers(runtime_env: dict[str, Any] | None) -> dict[str, Any]:
    """What Ray asks for every job's runtime environment (RAY_RUNTIME_ENV_HOOK): its workers begin loaded."""
    return {"py_executable": shlex.join(warmed([sys.executable], os.environ)), **(runtime_env or {})}
