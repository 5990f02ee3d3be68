"""(problem, prefix, n) -> n graded completions: straight to the vLLM engines by token ids, then to the grader."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

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
        self, engines: Sequence[Any], rewards: RewardClient, tokenizer: Any, *, temperature: float, top_p: float,
        with_log_probs: bool, seeded: bool, weight_version: Callable[[], Awaitable[int]],
    ) -> None:  # fmt: skip
        self._engines = engines
        self._rewards = rewards
        self._tokenizer = tokenizer
        self._seeded = seeded
        self._weight_version = weight_version
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
        # Prompt tokens once per request, and how many of them were in the prefix cache; seconds summed over requests.
        names = ("prompt_tokens", "cached_prompt_tokens", "sampling_seconds", "grading_seconds")
        self.counts = dict.fromkeys(names, 0.0)

    async def complete(self, problem: Problem, prefix_ids: TokenIds, n: int, seed: int) -> list[Completion]:
        """n completions of ``problem.prompt_ids + prefix_ids``, graded together with the prefix."""
        first_version = await self._weight_version()
        outputs = await self._generate(problem, prefix_ids, n, seed)
        last_version = await self._weight_version()
        rewards = await self._grade(problem, [[*prefix_ids, *output.token_ids] for output in outputs])
        return [
            Completion(
                token_ids=tuple(output.token_ids),
                reward=reward.value,
                is_correct=reward.is_correct,
                truncated=output.finish_reason == "length",
                log_probs=sampled_log_probs(output),
                extra_logs=reward.extra_logs,
                weight_versions=(first_version, last_version),
            )
            for output, reward in zip(outputs, rewards, strict=True)
        ]

    async def is_correct(self, problem: Problem, response_ids: TokenIds) -> bool:
        """The grader's verdict on a whole response."""
        (reward,) = await self._grade(problem, [response_ids])
        return reward.is_correct

    async def _grade(self, problem: Problem, responses: Sequence[Sequence[int]]) -> list[Any]:
        start = time.monotonic()
        texts = [self._tokenizer.decode(list(ids), skip_special_tokens=False) for ids in responses]
        rewards = await self._rewards.grade(problem.prompt, problem.label, texts)
        self.counts["grading_seconds"] += time.monotonic() - start
        return rewards

    async def _generate(self, problem: Problem, prefix_ids: TokenIds, n: int, seed: int) -> list[Any]:
        index = self._engine_of.setdefault(problem.id, self._in_flight.index(min(self._in_flight)))
        params = SamplingParams(
            n=n,
            max_tokens=problem.max_response_tokens - len(prefix_ids),
            seed=seed if self._seeded else None,
            **self._base_params,
        )
        start = time.monotonic()
        self._in_flight[index] += n
        try:
            output = await self._engines[index].generate.remote([*problem.prompt_ids, *prefix_ids], params)
        except Exception as e:
            raise RuntimeError(f"vLLM engine {index} failed while it sampled problem {problem.id}: {e}") from e
        finally:
            self._in_flight[index] -= n
        self.counts["sampling_seconds"] += time.monotonic() - start
        self.counts["prompt_tokens"] += len(problem.prompt_ids) + len(prefix_ids)
        self.counts["cached_prompt_tokens"] += output.num_cached_tokens or 0
        return output.outputs


def sampled_log_probs(output: Any) -> tuple[float, ...] | None:
    """Log-prob of every sampled token, when vLLM was asked for them."""
    if output.logprobs is None:
        return None
    return tuple(entry[token].logprob for token, entry in zip(output.token_ids, output.logprobs, strict=True))
