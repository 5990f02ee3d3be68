"""A short run whose processes begin with the stack loaded against one whose processes load it; prints the ratio.

    python tests/benchmarks/warm_start.py [--rounds 3]

Both run in turn on one Ray cluster: train_ppo_ray with 2 iterations of MARGE on the tests' tiny task. The seconds in
which the server loads the stack, once per cluster, are told by themselves and not counted.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from openrlhf_marge.host.standalone.local_ray import local_ray
from openrlhf_marge.host.standalone.warm_start import HOOK
from openrlhf_marge.runs.warm_client import SOCKET, warmed

sys.path.append(str(Path(__file__).parents[1]))  # helpers of the tests

from stack import TinyTask, make_task, train

FLAGS = "--experience_maker marge --marge.split tokens --marge.n_states 3 --marge.n_candidates 16"


def run_seconds(task: TinyTask, out: Path, environment: dict[str, str]) -> float:
    start = time.monotonic()
    train(task, out, FLAGS, environment)
    return time.monotonic() - start


def loading_seconds(environment: dict[str, str]) -> float:
    """Until the server answers, which it does once all is loaded."""
    start = time.monotonic()
    subprocess.run(warmed([sys.executable, "-c", ""], environment), env=environment, check=True)
    return time.monotonic() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="times that both run [3]")
    rounds = parser.parse_args().rounds
    cold, warm = [], []
    with tempfile.TemporaryDirectory() as name, local_ray() as environment:
        folder, task = Path(name), make_task(Path(name))
        print(f"the server has loaded the stack after {loading_seconds(environment):.1f} s more", flush=True)
        without = {name: value for name, value in environment.items() if name not in (SOCKET, HOOK)}
        for number in range(rounds):
            cold.append(run_seconds(task, folder / f"cold{number}", without))
            warm.append(run_seconds(task, folder / f"warm{number}", environment))
            print(f"cold {cold[-1]:.1f} s, warm {warm[-1]:.1f} s", flush=True)
    print(f"warm / cold: {statistics.median(warm) / statistics.median(cold):.2f} (medians of {rounds} rounds)")


if __name__ == "__main__":
    main()
