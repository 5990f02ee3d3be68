"""Prompt tokens that vLLM computes against the distinct ones of a guided step, from vLLM's own counters.

    python tests/benchmarks/prefix_cache.py [--prompt 160] [--guidance 320]

24 problems, 5 states, 8 completions each, through the sampler to one real engine with blocks of 32 tokens, the fewest
that vLLM's CPU backend has (128 unless told; 16 on GPUs). Distinct are the tokens of all prompts and of the longest
state of each; vLLM computes the last block of every completion's prompt anew, which is where the rest goes.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import sys
import tempfile
from pathlib import Path

from openrlhf_marge import Guidance, MargeConfig, Problem, split_into_states
from openrlhf_marge.arithmetic.model import build_model, build_tokenizer
from openrlhf_marge.runs.cpu import cpu_environment

sys.path.append(str(Path(__file__).parents[1]))  # helpers of the tests

from engine import local_engine, sampler_on

N_PROBLEMS, N_STATES, N_COMPLETIONS = 24, 5, 8


async def measure(folder: Path, n_prompt: int, n_guidance: int) -> tuple[int, int, int]:
    """(asked for, found in the cache, distinct) prompt tokens."""
    from vllm.v1.metrics.reader import get_metrics_snapshot

    rng, config, distinct = random.Random(0), MargeConfig(split="tokens", n_states=N_STATES), 0
    with local_engine(folder, max_model_len=1024, dtype="float32") as engine:
        sampler, requests = sampler_on(engine, build_tokenizer(), lambda label, response: False), []
        for i in range(N_PROBLEMS):
            ids = tuple(rng.randrange(3, 40) for _ in range(n_prompt + n_guidance))
            room = n_guidance + 4
            problem = Problem(id=str(i), prompt="", label="", prompt_ids=ids[:n_prompt], max_response_tokens=room)
            guidance = Guidance(token_ids=ids[n_prompt:], is_correct=True, pass_rate=0.5)
            states = split_into_states(problem, [guidance], (), config, lambda ids: [""] * len(ids))
            requests += [sampler.complete(problem, s.prefix_ids, N_COMPLETIONS, 0) for s in states]
            distinct += n_prompt + len(states[-1].prefix_ids)
        await asyncio.gather(*requests)
        await engine.do_log_stats()
        counters = {metric.name: getattr(metric, "value", None) for metric in get_metrics_snapshot()}
    return counters["vllm:prefix_cache_queries"], counters["vllm:prefix_cache_hits"], distinct


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompt", type=int, default=160, help="tokens of a prompt [160]")
    parser.add_argument("--guidance", type=int, default=320, help="tokens of a guidance [320]")
    args = parser.parse_args()
    os.environ.update(cpu_environment())
    with tempfile.TemporaryDirectory() as folder:
        tokenizer = build_tokenizer()
        model = build_model(tokenizer, seed=0)
        model.config.max_position_embeddings = 1024
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        asked, cached, distinct = asyncio.run(measure(Path(folder), args.prompt, args.guidance))
    print(f"asked for {asked:.0f} prompt tokens, {cached:.0f} of them cached: computed {asked - cached:.0f}")
    print(f"distinct {distinct}; computed / distinct = {(asked - cached) / distinct:.2f}")
    print(f"without a cache it would be {asked / distinct:.1f}")


if __name__ == "__main__":
    main()
