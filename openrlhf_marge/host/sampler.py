"""(problem, prefix, n) -> n graded completions: straight to the vLLM engines by token ids, then to the grader."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ray
from vllm import SamplingParams
from vllm.sampling_params import RequestOutputKind

from openrlhf_marge.host.rewards import RewardClient
from openrlhf_marge.types import Completion, Problem, TokenIds


class EngineSampler:
    """Samples the n completions of a state as one request; all states of a problem go to the same engine.

    One request shares the prompt among its n completions, and one engine per problem lets nested states find each
    other's prefixes in the prefix cache. The engine of a problem is the one with the fewest completions in flight.
    """

    def __init__(
        self, engines: Sequence[Any], rewards: RewardClient, tokenizer: Any, temperature: float, top_p: float,
        with_log_probs: bool,
    ) -> None:  # fmt: skip
        self._engines = engines
        self._rewards = rewards
        self._tokenizer = tokenizer
        self._base_params = dict(
            temperature=temperature,
            top_p=top_p,
            top_k=-1,
            min_tokens=1,
            detokenize=False,  # the ids are decoded here, once, together with their prefix
            logprobs=1 if with_log_probs else None,
            output_kind=RequestOutputKind.FINAL_ONLY,  # otherwise the n outputs arrive apart
        )
        self._in_flight = [0] * len(engines)
        self._engine_of: dict[str, int] = {}

    async def complete(self, problem: Problem, prefix_ids: TokenIds, n: int) -> list[Completion]:
        """n completions of ``problem.prompt_ids + prefix_ids``, graded together with the prefix."""
        outputs = await self._generate(problem, prefix_ids, n)
        texts = [
            self._tokenizer.decode([*prefix_ids, *output.token_ids], skip_special_tokens=False) for output in outputs
        ]
        rewards = await self._rewards.grade(problem.prompt, problem.label, texts)
        return [
            Completion(
                token_ids=tuple(output.token_ids),
                reward=reward.value,
                is_correct=reward.is_correct,
                truncated=output.finish_reason == "length",
                log_probs=sampled_log_probs(output),
                extra_logs=reward.extra_logs,
            )
            for output, reward in zip(outputs, rewards, strict=True)
        ]

    async def _generate(self, problem: Problem, prefix_ids: TokenIds, n: int) -> list[Any]:
        index = self._engine_of.setdefault(problem.id, self._in_flight.index(min(self._in_flight)))
        params = SamplingParams(n=n, max_tokens=problem.max_response_tokens - len(prefix_ids), **self._base_params)
        self._in_flight[index] += n
        try:
            output = await self._engines[index].generate.remote([*problem.prompt_ids, *prefix_ids], params)
        except ray.exceptions.RayActorError as e:
            raise RuntimeError(f"vLLM engine {index} died while it sampled problem {problem.id}: {e}") from e
        finally:
            self._in_flight[index] -= n
        return output.outputs


def sampled_log_probs(output: Any) -> tuple[float, ...] | None:
    """Log-prob of every sampled token, when vLLM was asked for them."""
    if output.logprobs is None:
        return None
    return tuple(entry[token].logprob for token, entry in zip(output.token_ids, output.logprobs, strict=True))
