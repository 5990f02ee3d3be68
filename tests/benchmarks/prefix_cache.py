"""Prompt tokens that vLLM computes more than once in a guided step, from vLLM's own counters.

    python tests/benchmarks/prefix_cache.py [--prompt 200] [--guidance 600]

24 problems, 5 states, 8 completions each, through the sampler to one real engine with blocks of 32 tokens, the fewest
that vLLM's CPU backend has (128 unless told; 16 on GPUs). Lengths are drawn within a quarter of the given means, as
multiples of the block would be the worst case. Distinct are the tokens of all prompts and of the longest state of
each; vLLM computes the last block of every completion's prompt anew. What that costs is measured against the tokens
that are generated where a response is as long as the guidance (the untrained model here ends earlier).
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

from engine import BLOCK, local_engine, sampler_on

N_PROBLEMS, N_STATES, N_COMPLETIONS = 24, 5, 8


async def measure(folder: Path, mean_prompt: int, mean_guidance: int) -> tuple[int, int, list[list[int]], int]:
    """(asked for, found in the cache) prompt tokens, lengths of the states' prompts by problem, generated tokens."""
    from vllm.v1.metrics.reader import get_metrics_snapshot

    rng, config = random.Random(0), MargeConfig(split="tokens", n_states=N_STATES)
    lengths, generated = [], 0
    with local_engine(folder, max_model_len=1024, dtype="float32") as engine:
        sampler, requests = sampler_on(engine, build_tokenizer(), lambda label, response: False), []
        for i in range(N_PROBLEMS):
            n_prompt, n_guidance = (round(mean * rng.uniform(0.75, 1.25)) for mean in (mean_prompt, mean_guidance))
            ids = tuple(rng.randrange(3, 40) for _ in range(n_prompt + n_guidance))
            room = n_guidance + 4
            problem = Problem(id=str(i), prompt="", label="", prompt_ids=ids[:n_prompt], max_response_tokens=room)
            guidance = Guidance(token_ids=ids[n_prompt:], is_correct=True, pass_rate=0.5)
            states = split_into_states(problem, [guidance], (), config, lambda ids: [""] * len(ids))
            requests += [sampler.complete(problem, s.prefix_ids, N_COMPLETIONS, 0) for s in states]
            lengths.append([n_prompt + len(s.prefix_ids) for s in states])
            generated += sum(N_COMPLETIONS * (n_guidance - len(s.prefix_ids)) for s in states)
        await asyncio.gather(*requests)
        await engine.do_log_stats()
        counters = {metric.name: getattr(metric, "value", None) for metric in get_metrics_snapshot()}
    return counters["vllm:prefix_cache_queries"], counters["vllm:prefix_cache_hits"], lengths, generated


def computed_anew(lengths: list[int], block: int) -> int:
    """Prompt tokens of one problem's states that a cache of whole blocks lets the engine compute more than once."""
    last_blocks = sum((length - 1) % block + 1 for length in lengths)
    return (N_COMPLETIONS - 1) * last_blocks + sum(length % block for length in lengths[:-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompt", type=int, default=200, help="mean tokens of a prompt [200]")
    parser.add_argument("--guidance", type=int, default=600, help="mean tokens of a guidance [600]")
    args = parser.parse_args()
    os.environ.update(cpu_environment())
    with tempfile.TemporaryDirectory() as folder:
        tokenizer = build_tokenizer()
        model = build_model(tokenizer, seed=0)
        model.config.max_position_embeddings = 1024
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        asked, cached, lengths, generated = asyncio.run(measure(Path(folder), args.prompt, args.guidance))
    distinct = sum(states[-1] for states in lengths)
    print(f"asked for {asked:.0f} prompt tokens, {cached:.0f} of them cached: computed {asked - cached:.0f}")
    print(f"distinct {distinct}, generated {generated} where responses are as long as the guidance")
    print(f"(computed - distinct) / generated = {(asked - cached - distinct) / generated:.3f}")
    for block in (BLOCK, 16):
        anew = sum(computed_anew(states, block) for states in lengths)
        print(f"  by the lengths alone, with blocks of {block}: {anew / generated:.3f}")
    print(f"without a cache it would be {(asked - distinct) / generated:.3f}")


if __name__ == "__main__":
    main()
