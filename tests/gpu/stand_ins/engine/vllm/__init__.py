"""Stands in for vLLM where it is not installed: an engine whose completions are pseudo-random tokens.

What an engine would sample depends on the prompt and on how often it was asked for, on nothing else. Weights that
arrive through CUDA IPC are opened and must be finite.
"""

from __future__ import annotations

import random
from collections import Counter
from types import SimpleNamespace
from typing import Any

__version__ = "0.29.0"
LOWEST, HIGHEST, EOS = 3, 250, 2  # ids of bytes and of the end of a turn, in the tokenizer of the embedded task

platforms = SimpleNamespace(current_platform=SimpleNamespace(is_cpu=lambda: False))


class SamplingParams(SimpleNamespace):
    """Whatever is asked for."""


class AsyncEngineArgs:
    def __init__(self, *args: Any, **options: Any) -> None:
        self.options = options


class AsyncLLMEngine:
    def __init__(self) -> None:
        self._asked: Counter[tuple[int, ...]] = Counter()
        self.output_processor = SimpleNamespace(get_num_unfinished_requests=lambda: 0)

    @classmethod
    def from_engine_args(cls, args: AsyncEngineArgs) -> AsyncLLMEngine:
        return cls()

    async def generate(self, prompt: dict[str, Any], params: SamplingParams, request_id: str) -> Any:
        ids = tuple(prompt["prompt_token_ids"])
        outputs = [self._output(ids, params) for _ in range(getattr(params, "n", 1) or 1)]
        yield SimpleNamespace(prompt_token_ids=ids, outputs=outputs, num_cached_tokens=0)

    def _output(self, ids: tuple[int, ...], params: SamplingParams) -> Any:
        rng = random.Random(str((ids, self._asked[ids])))
        self._asked[ids] += 1
        tokens = [rng.randrange(LOWEST, HIGHEST) for _ in range(rng.randint(1, params.max_tokens - 1))] + [EOS]
        probable = [{t: SimpleNamespace(logprob=-5.0)} for t in tokens] if params.logprobs is not None else None
        return SimpleNamespace(token_ids=tokens, text="", finish_reason="stop", logprobs=probable)

    async def collective_rpc(self, method: str, args: tuple[Any, ...] = ()) -> None:
        if method == "update_weight_cuda_ipc":
            name, dtype, shape, handles, _ = args
            check_weight(name, dtype, shape, *handles.values())

    async def is_sleeping(self) -> bool:
        return False

    async def _nothing(self, *args: Any, **options: Any) -> None:
        pass

    sleep = wake_up = pause_generation = resume_generation = reset_prefix_cache = _nothing


def check_weight(name: str, dtype: Any, shape: Any, handle: Any) -> None:
    """Open the weight of the process that trains, on this process's own GPU."""
    opened, arguments = handle
    arguments = list(arguments)
    arguments[6] = 0  # the device, as OpenRLHF's worker sets it
    weight = opened(*arguments)
    if weight.dtype != dtype or weight.shape != shape or not weight.isfinite().all():
        raise ValueError(f"{name} did not arrive: {weight.dtype}, {tuple(weight.shape)}")
