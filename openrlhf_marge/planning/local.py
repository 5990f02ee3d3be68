"""What a measurement is of: the GPUs of a preset, or this machine without any, as torch reaches it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from openrlhf_marge.planning.machines import PRESETS, Machine, find_machine

SIDE, COPIED, ROUNDS = 1024, 2**27, 5  # of a square matrix; bytes


def machine_here(named: str | None, name: str) -> Machine:
    """What is measured: the preset of these GPUs, or a machine without any."""
    if named:
        return find_machine(named)
    if os.environ.get("DS_ACCELERATOR") != "cpu":
        raise ValueError(
            f"--measure needs --machine, one of {', '.join(PRESETS)}, for the memory and the speed of these GPUs; on "
            "a machine without any set DS_ACCELERATOR=cpu"
        )
    return local_machine(name)


def local_machine(name: str) -> Machine:
    """One device that has everything; what a run reaches on it is for a measurement to tell."""
    import torch

    one, numbers = torch.rand(SIDE, SIDE), torch.rand(COPIED // 4)
    bandwidth = 2 * COPIED / _seconds(numbers.clone)
    return Machine(
        name=name,
        memory=float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")),
        flops=2 * SIDE**3 / _seconds(lambda: one @ one),
        bandwidth=bandwidth,
        link=bandwidth,
        network=bandwidth,
        host_link=bandwidth,
        graders=min(16, os.cpu_count() or 1),
        cache_block=128,  # vLLM's on a CPU
        is_cpu=True,
    )


def _seconds(work: Callable[[], object]) -> float:
    """The fastest of some rounds."""
    times = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)
