"""One vLLM engine in this process, asked through the package's own sampler: for benchmarks without Ray."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

BLOCK = 32  # tokens: the fewest that vLLM's CPU backend has (128 unless told; 16 on GPUs)


@contextmanager
def local_engine(model: Path, max_model_len: int, dtype: str) -> Iterator[Any]:
    import vllm

    args = vllm.AsyncEngineArgs(
        str(model), enforce_eager=True, max_model_len=max_model_len, block_size=BLOCK, dtype=dtype
    )
    engine = vllm.AsyncLLMEngine.from_engine_args(args)
    try:
        yield engine
    finally:
        engine.shutdown()


def sampler_on(engine: Any, tokenizer: Any, verdict) -> Any:
    """EngineSampler on this engine; ``verdict`` takes (label, response) and says whether it is correct."""
    from openrlhf_marge.host.rollout.sampler import EngineSampler
    from openrlhf_marge.rewards.returned import Reward

    async def generate(prompt_ids, params):
        import vllm

        prompt = vllm.TokensPrompt(prompt_token_ids=prompt_ids)
        async for output in engine.generate(prompt, params, str(random.random())):
            final = output
        return final

    class Rewards:
        async def grade(self, prompt, label, responses):
            verdicts = [verdict(label, response) for response in responses]
            return [Reward(value=float(v), is_correct=v, extra_logs=()) for v in verdicts]

    async def weight_version() -> int:
        return 0

    methods = {"generate": generate, "reset_prefix_cache": engine.reset_prefix_cache}
    actor = SimpleNamespace(**{name: SimpleNamespace(remote=method) for name, method in methods.items()})
    return EngineSampler(
        [actor], Rewards(), tokenizer, temperature=0.8, top_p=0.95, with_log_probs=False, seeded=False,
        weight_version=weight_version,
    )  # fmt: skip
