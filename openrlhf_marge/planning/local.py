"""This machine, without a GPU: its memory, FLOP/s and bandwidth as torch reaches them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from openrlhf_marge.planning.machines import Machine

SIDE, COPIED, ROUNDS = 1024, 2**27, 5  # of a square matrix; bytes


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
