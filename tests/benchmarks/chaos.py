"""Faults in simulated runs: after each the run goes on, and ends as one that nothing disturbed.

    python tests/benchmarks/chaos.py [--faults 1000] [--per_run 25] [--seed 0]

Generator, sampler, explorer, queue, dump, records and checkpoints are the package's own; engines, graders, weights,
disk and clock are scripted, and time is virtual (tests/faulty_run.py). A run has 3 episodes of 16 problems. What a
fault ends is started again as a user would, until the run has ended; then the groups that were trained on, in their
order, the dump, the guidance and what waits must be those of the undisturbed run. So no problem is skipped or trained
on twice, and no group is cut or made up. A fault must end the run that it ends within 120 virtual seconds.
"""

from __future__ import annotations

import argparse
import logging
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))  # helpers of the tests

from fault_checks import check_whole, outcome
from fault_setting import setting_of
from faults import FAULTS, Chaos
from faulty_run import survive


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faults", type=int, default=1000, help="in all [%(default)s]")
    parser.add_argument("--per_run", type=int, default=25, help="faults of one run [%(default)s]")
    parser.add_argument("--seed", type=int, default=0, help="of kinds and moments [%(default)s]")
    args = parser.parse_args()
    logging.disable(logging.WARNING)
    struck: Counter[str] = Counter()
    start, runs, slowest = time.monotonic(), 0, 0.0
    with tempfile.TemporaryDirectory() as folder:
        setting = setting_of(Path(folder), 16)
        survive(setting, Path(folder, "undisturbed"), Chaos(random.Random(0)))
        check_whole(setting, Path(folder, "undisturbed"))
        wanted = outcome(Path(folder, "undisturbed"))
        while (left := args.faults - struck.total()) > 0:
            seed, out = f"{args.seed} {runs}", Path(folder, "run")
            chaos = Chaos(random.Random(seed), left=min(left, args.per_run))
            ended_after = survive(setting, out, chaos)
            if outcome(out) != wanted:
                sys.exit(f"seed {seed!r}: another outcome after {chaos.struck}")
            shutil.rmtree(out)
            struck.update(chaos.struck)
            runs, slowest = runs + 1, max([slowest, *ended_after])
            print(f"run {runs}, seed {seed!r}: {len(chaos.struck)} faults, {struck.total()} in all", flush=True)
    for fault in FAULTS:
        print(f"{struck[fault]:6} {fault}")
    print(f"{struck.total()} faults in {runs} runs, {time.monotonic() - start:.0f} s: ", end="")
    print(f"every run ended as the undisturbed one; the slowest end took {slowest:.0f} virtual seconds")


if __name__ == "__main__":
    main()
