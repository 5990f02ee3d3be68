"""How many responses per second a training process grades, and what its event loop, which samples, feels of it.

    python tests/benchmarks/grader_load.py CASES.jsonl --workers 1 2

CASES as for benchmark_grader.py; each is graded once, one request per response, all at once, as a rollout does it.
Seconds of CPU are printed as well: they say more than the rate where a machine is shared.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil

from grader import read_cases

FIRST_ITERATION = 137_000  # responses that the paper's settings sample
TICK = 0.01  # seconds between two steps of the loop's own work


def cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


async def ticking(late: list[float]) -> None:
    """Stands for the requests of a sampler: notes how late each step of it comes."""
    while True:
        start = time.perf_counter()
        await asyncio.sleep(TICK)
        late.append(time.perf_counter() - start - TICK)


async def grade_all(client, cases: list[dict]) -> tuple[int, list[float]]:
    """Number of correct ones, and how late the loop was while they were graded."""
    late: list[float] = []
    ticker = asyncio.create_task(ticking(late))
    rewards = await asyncio.gather(*(client.grade("", case["gold"], [case["response"]]) for case in cases))
    ticker.cancel()
    return sum(reward.is_correct for (reward,) in rewards), late


def measure(path: Path) -> None:
    from openrlhf_marge import REWARD_FILE
    from openrlhf_marge.host.rollout.reward_client import RewardClient

    client, me = RewardClient([REWARD_FILE]), psutil.Process()
    warm = [{"response": rf"\boxed{{x+y+{i}}}", "gold": f"{i}+x+y"} for i in range(100)]
    asyncio.run(grade_all(client, warm))  # all workers run
    cases = [case for case in read_cases(path) if case["gold"].strip()]
    children = me.children(recursive=True)
    before, mine = sum(map(cpu_seconds, children)), cpu_seconds(me)
    start = time.perf_counter()
    correct, late = asyncio.run(grade_all(client, cases))
    wall, n = time.perf_counter() - start, len(cases)
    children = me.children(recursive=True)
    workers, mine = sum(map(cpu_seconds, children)) - before, cpu_seconds(me) - mine
    late.sort()
    memory = max(child.memory_full_info().uss for child in children) / 2**20
    minutes = FIRST_ITERATION / n * wall / 60
    print(f"{os.environ['MARGE_GRADER_WORKERS']} workers: {n / wall:.0f} responses/s, ", end="")
    print(f"{minutes:.1f} minutes for {FIRST_ITERATION:,}; {correct} of {n} correct")
    print(f"  CPU per response: {mine / n * 1e3:.2f} ms here, {workers / n * 1e3:.2f} ms in workers", end="; ")
    print(f"at most {memory:.0f} MiB of a worker's own")
    print(f"  loop late: median {late[len(late) // 2] * 1e3:.0f} ms, ", end="")
    print(f"99th percentile {late[int(0.99 * len(late))] * 1e3:.0f} ms")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", type=Path, help="labelled cases, JSONL")
    parser.add_argument("--workers", type=int, nargs="+", help="one measurement each [in this process]")
    args = parser.parse_args()
    if args.workers is None:
        return measure(args.cases)
    for workers in args.workers:
        environment = os.environ | {"MARGE_GRADER_WORKERS": str(workers)}
        subprocess.run([sys.executable, __file__, str(args.cases)], env=environment, check=True)


if __name__ == "__main__":
    sys.exit(main())
