"""Ends an engine's process with its actor.

vLLM computes in a process of its own, a child of OpenRLHF's actor, and does not look after its parent. When the actor
is killed, as by the system where memory runs out, the child would hold its memory until somebody finds it, and a
resumed run would find none.
"""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

ACTOR = "ray::RolloutRayActor"  # how the actor's title begins
LOOK_SECONDS = 1.0


def end_with_actor() -> None:
    """vLLM calls this in each of its processes (entry point group ``vllm.general_plugins``); it concerns children of
    an actor alone."""
    parent = os.getppid()
    try:
        title = Path("/proc", str(parent), "cmdline").read_bytes()
    except OSError:  # gone, another user's, or no Linux, without which there is no vLLM
        return
    if title.startswith(ACTOR.encode()):
        threading.Thread(target=_end_after, args=(parent,), name="end with actor", daemon=True).start()


def _end_after(parent: int) -> None:
    """A process whose parent has died gets another one."""
    while os.getppid() == parent:
        time.sleep(LOOK_SECONDS)
    os._exit(1)
