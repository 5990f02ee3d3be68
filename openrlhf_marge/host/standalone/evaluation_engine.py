"""vLLM for an evaluation; it is loaded when an engine starts, after everything else has been checked."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import fields
from functools import partial
from typing import Any

from tqdm import tqdm

from openrlhf_marge.evaluation.answering import Output


class Engine:
    """One engine in this process. ``options`` are further arguments of vllm.LLM and win over the ones here.

    A response ends before the first of the ``stop`` texts.
    """

    def __init__(
        self, model: str, max_len: int, seed: int, options: dict[str, Any], stop: list[str] | None = None
    ) -> None:
        from vllm import LLM
        from vllm.engine.arg_utils import EngineArgs

        known = {f.name for f in fields(EngineArgs)} | inspect.signature(LLM).parameters.keys()
        if unknown := options.keys() - known:
            raise ValueError(f"--engine_args has {min(unknown)!r}, which vllm.LLM does not take; leave it out")
        defaults: dict[str, Any] = dict(dtype="bfloat16", max_model_len=max_len, enforce_eager=True, seed=seed)
        self._llm, self._stop = LLM(model=model, **defaults | options), stop

    def sample(self, prompts: Sequence[list[int]], n: int, temperature: float, top_p: float) -> list[list[Output]]:
        """n responses to each prompt, up to the length limit."""
        return self._generate(prompts, n=n, temperature=temperature, top_p=top_p)

    def greedy(self, prompts: Sequence[list[int]], runs: int) -> list[list[Output]]:
        """The greedy response to each prompt of every run; on a GPU runs differ by rounding."""
        by_run = [self._generate(prompts, n=1, temperature=0.0) for _ in range(runs)]
        return [[outputs[i][0] for outputs in by_run] for i in range(len(prompts))]

    def _generate(self, prompts: Sequence[list[int]], **params: Any) -> list[list[Output]]:
        from vllm import SamplingParams, TokensPrompt

        outputs = self._llm.generate(
            [TokensPrompt(prompt_token_ids=ids) for ids in prompts],
            SamplingParams(max_tokens=None, stop=self._stop, **params),
            use_tqdm=partial(tqdm, position=1, leave=False),
        )
        return [[Output(o.text, o.finish_reason == "length") for o in output.outputs] for output in outputs]
