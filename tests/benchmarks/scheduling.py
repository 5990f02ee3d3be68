"""What the driver spends on scheduling, and what guidance costs in memory and on disk; prints figures.

    python tests/benchmarks/scheduling.py [--problems 20000] [--pool 1000000]

Engines are simulated: they answer after a moment without computing anything, so all CPU time is the driver's. 64 of
them, 5 states a problem, 8 completions a state, responses of 40 tokens.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import random
import resource
import tempfile
import time
from types import SimpleNamespace

from openrlhf_marge import Explorer, Guidance, GuidancePool, MargeConfig, Problem
from openrlhf_marge.arithmetic.model import build_tokenizer
from openrlhf_marge.decoding import decode_pieces
from openrlhf_marge.host.rollout.records import RolloutRecord
from openrlhf_marge.host.rollout.sampler import EngineSampler
from openrlhf_marge.rewards.returned import Reward
from openrlhf_marge.runs.checkpoints import CheckpointStore

N_ENGINES, N_STATES, N_COMPLETIONS, RESPONSE_TOKENS, GUIDANCE_TOKENS = 64, 5, 8, 40, 400


class SimulatedEngine:
    """Has what the sampler uses of a Ray actor handle."""

    def __init__(self) -> None:
        self.generate = SimpleNamespace(remote=self._generate)

    async def _generate(self, prompt_ids, params):
        await asyncio.sleep(0.001)
        ids = [random.randrange(3, 20) for _ in range(RESPONSE_TOKENS)]
        output = SimpleNamespace(token_ids=ids, finish_reason="length", stop_reason=None, logprobs=None)
        return SimpleNamespace(outputs=[output] * params.n, num_cached_tokens=0)


class SimulatedRewards:
    async def grade(self, prompt, label, responses):
        return [Reward(value=float(i % 2), is_correct=i % 2 == 1, extra_logs=()) for i in range(len(responses))]


async def explore(n_problems: int) -> tuple[int, float]:
    """States explored and CPU seconds of this process."""
    tokenizer = build_tokenizer()

    async def weight_version() -> int:
        return 0

    sampler = EngineSampler(
        [SimulatedEngine() for _ in range(N_ENGINES)], SimulatedRewards(), tokenizer, temperature=0.8, top_p=0.95,
        with_log_probs=False, seeded=True, weight_version=weight_version,
    )  # fmt: skip
    explorer = Explorer(
        config=MargeConfig(split="tokens", n_states=N_STATES, guidance_source="fresh"), pool=GuidancePool(), seed=0,
        s0_ids=(), eos_ids=frozenset({0}), n_completions=N_COMPLETIONS, sampler=sampler,
        decode_pieces=functools.partial(decode_pieces, tokenizer),
    )  # fmt: skip
    problems = [
        Problem(id=str(i), prompt="", label="", prompt_ids=tuple(range(40)), max_response_tokens=64)
        for i in range(n_problems)
    ]
    start = time.process_time()
    explorations = await asyncio.gather(*map(explorer.explore, problems))
    return sum(len(e.groups) for e in explorations), time.process_time() - start


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
    parser.add_argument("--problems", type=int, default=20_000, help="problems to explore, 5 states each [20000]")
    parser.add_argument("--pool", type=int, default=1_000_000, help="problems whose guidance is kept [1000000]")
    args = parser.parse_args()
    guidance_memory(args.pool)
    states, seconds = asyncio.run(explore(args.problems))
    print(f"{states} states on {N_ENGINES} simulated engines: {1000 * seconds / states:.3f} ms of CPU time per state")


if __name__ == "__main__":
    main()
