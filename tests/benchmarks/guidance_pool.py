"""What the guidance of many problems costs in memory and on disk; prints figures.

python tests/benchmarks/guidance_pool.py [--problems 1000000]
"""

from __future__ import annotations

import argparse
import random
import resource
import tempfile
import time

from openrlhf_marge import Guidance, GuidancePool
from openrlhf_marge.host.rollout.records import RolloutRecord
from openrlhf_marge.runs.checkpoints import CheckpointStore

GUIDANCE_TOKENS = 400


def guidance_memory(n_problems: int) -> None:
    """Fill a pool, save it and load it again."""
    before = peak_gib()
    pool, rng = GuidancePool(), random.Random(0)
    for i in range(n_problems):
        start = rng.randrange(1000, 100_000)  # ids that Python does not keep as singletons
        ids = tuple(range(start, start + GUIDANCE_TOKENS))
        pool.visit(f"{i:016x}")
        pool.set(f"{i:016x}", (Guidance(token_ids=ids, is_correct=True, pass_rate=0.5),))
    print(f"guidance of {n_problems} problems: peak memory grew by {peak_gib() - before:.2f} GiB")
    with tempfile.TemporaryDirectory() as folder:
        store = CheckpointStore(folder)
        start = time.monotonic()
        store.write_state(1, RolloutRecord(pool=pool.state_dict(), waiting=(), rollouts=1, episode=0))
        saved = time.monotonic()
        size = store.state_file(1).stat().st_size / 2**30
        restored = GuidancePool()
        restored.update(store.read_state(1, RolloutRecord).pool)
        loaded = time.monotonic()
        assert restored.get(f"{n_problems - 1:016x}") == pool.get(f"{n_problems - 1:016x}")
    print(f"saved in {saved - start:.1f} s ({size:.2f} GiB), loaded in {loaded - saved:.1f} s; ", end="")
    print(f"peak of the process with both in memory {peak_gib():.2f} GiB")


def peak_gib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problems", type=int, default=1_000_000, help="problems whose guidance is kept [1000000]")
    guidance_memory(parser.parse_args().problems)


if __name__ == "__main__":
    main()
