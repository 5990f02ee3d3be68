"""(problem, prefix, n) -> n graded completions: straight to the vLLM engines by token ids, then to the grader."""

from __future__ import annotations

import math
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from vllm import SamplingParams
from vllm.sampling_params import RequestOutputKind

from openrlhf_marge.host.rollout.dispatch import Dispatcher
from openrlhf_marge.host.rollout.engine_outputs import before_stop_text, check_outputs, completed_at, sampled_log_probs
from openrlhf_marge.host.rollout.engine_watch import EngineWatch
from openrlhf_marge.host.rollout.reward_client import RewardClient
from openrlhf_marge.host.rollout.tokens import decode_all
from openrlhf_marge.types import Completion, Problem, TokenIds


class EngineSampler:
    """Samples the n completions of a state as one request, which shares the prompt among them."""

    def __init__(
        self, engines: Sequence[Any], rewards: RewardClient, tokenizer: Any, *, temperature: float, top_p: float,
        with_log_probs: bool, seeded: bool, weight_version: Callable[[], Awaitable[int]], stop: Sequence[str] = (),
        first_engine: int = 0,
    ) -> None:  # fmt: skip
        """``first_engine`` is the number of the first of these engines among those of the run."""
        self._engines, self._first_engine = engines, first_engine
        self._rewards = rewards
        self._tokenizer = tokenizer
        self._seeded = seeded
        self._weight_version = weight_version
        self._base_params: dict[str, Any] = dict(
            temperature=temperature,
            top_p=top_p,
            top_k=-1,
            # Until so many tokens are sampled vLLM looks for no stop text, and does not look back at these later.
            min_tokens=0 if stop else 1,
            stop=list(stop) or None,
            detokenize=bool(stop),  # to see a stop text; the ids are decoded here, once, together with their prefix
            logprobs=0 if with_log_probs else None,  # of the sampled token alone
            flat_logprobs=with_log_probs,  # to unpickle an object for each token took most of a call
            output_kind=RequestOutputKind.FINAL_ONLY,  # otherwise the n outputs arrive apart
        )
        self._dispatcher = Dispatcher(len(engines))
        self._watches = [EngineWatch(engine, number) for number, engine in enumerate(engines, first_engine)]
        # Prompt tokens once per request, and how many of them were in the prefix cache; seconds summed over requests.
        names = ("prompt_tokens", "cached_prompt_tokens", "sampling_seconds", "grading_seconds")
        self.counts = dict.fromkeys(names, 0.0)

    async def complete(self, problem: Problem, prefix_ids: TokenIds, n: int, seed: int) -> list[Completion]:
        """n completions of ``problem.prompt_ids + prefix_ids``, graded together with the prefix."""
        room, seed_given = problem.max_response_tokens - len(prefix_ids), seed if self._seeded else None
        params = SamplingParams(n=n, max_tokens=room, seed=seed_given, **self._base_params)
        outputs, versions = await self._sampled(problem, prefix_ids, params)
        ends = [completed_at(self._tokenizer, output) for output in outputs]
        responses = [[*prefix_ids, *output.token_ids[:end]] for output, end in zip(outputs, ends, strict=True)]
        decoded = decode_all(self._tokenizer, responses)
        texts = [before_stop_text(t, output.stop_reason) for t, output in zip(decoded, outputs, strict=True)]
        rewards = await self._grade(problem, texts)
        return [
            Completion(
                token_ids=tuple(output.token_ids[:end]),
                reward=reward.value,
                is_correct=reward.is_correct,
                truncated=output.finish_reason == "length",
                log_probs=sampled_log_probs(output, end),
                extra_logs=reward.extra_logs,
                weight_versions=versions,
            )
            for output, end, reward in zip(outputs, ends, rewards, strict=True)
        ]

    async def is_correct(self, problem: Problem, response_ids: TokenIds) -> bool:
        """The grader's verdict on a whole response."""
        (reward,) = await self._grade(problem, decode_all(self._tokenizer, [list(response_ids)]))
        return reward.is_correct

    async def judged(self, problem: Problem, ids: TokenIds, option: int) -> Completion:
        """The token ``option`` after ``problem.prompt_ids + ids``, with its probability as the reward.

        No other token is allowed; vLLM gives the log-prob that it has among all. Asked for by ``logprob_token_ids``,
        it would take those of the requests in the same batch away.
        """
        params = SamplingParams(
            temperature=0.0, max_tokens=1, allowed_token_ids=[option], logprobs=1, detokenize=False,
            output_kind=RequestOutputKind.FINAL_ONLY,
        )  # fmt: skip
        (output,), versions = await self._sampled(problem, ids, params)
        log_probs = sampled_log_probs(output, 1)
        assert log_probs is not None and tuple(output.token_ids) == (option,), "it was asked for"
        probability = min(1.0, math.exp(log_probs[0]))
        return Completion(
            token_ids=(option,), reward=probability, is_correct=probability > 0.5, log_probs=log_probs,
            weight_versions=versions,
        )  # fmt: skip

    async def _grade(self, problem: Problem, texts: Sequence[str]) -> list[Any]:
        start = time.monotonic()
        rewards = await self._rewards.grade(problem.prompt, problem.label, texts)
        self.counts["grading_seconds"] += time.monotonic() - start
        return rewards

    async def _sampled(
        self, problem: Problem, prefix_ids: TokenIds, params: SamplingParams
    ) -> tuple[list[Any], tuple[int, int]]:
        """What the engine of the problem gives for one request, and the weight versions before and after it."""
        async with self._dispatcher.engine(problem.id, params.n) as index:
            first_version = await self._weight_version()
            outputs = await self._generate(index, problem, prefix_ids, params)
            return outputs, (first_version, await self._weight_version())

    async def _generate(self, index: int, problem: Problem, prefix_ids: TokenIds, params: SamplingParams) -> list[Any]:
        start = time.monotonic()
        try:
            asked = self._engines[index].generate.remote([*problem.prompt_ids, *prefix_ids], params)
            output = await self._watches[index].wait(asked)
            check_outputs(output.outputs, params.n)
        except Exception as e:
            number = self._first_engine + index
            raise RuntimeError(f"vLLM engine {number} failed while it sampled problem {problem.id}: {e}") from e
        self.counts["sampling_seconds"] += time.monotonic() - start
        self.counts["prompt_tokens"] += len(problem.prompt_ids) + len(prefix_ids)
        self.counts["cached_prompt_tokens"] += output.num_cached_tokens or 0
        return output.outputs
