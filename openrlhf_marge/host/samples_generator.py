"""Prompts -> explored groups -> OpenRLHF Experiences (extends trainer/ppo_utils/samples_generator.py)."""

from __future__ import annotations

import asyncio
import functools
import itertools
from typing import Any

import torch
from openrlhf.trainer.ppo_utils.experience import Experience
from openrlhf.trainer.ppo_utils.samples_generator import SamplesGenerator, _collect_prompt_batch
from openrlhf.trainer.ray.vllm_engine import batch_vllm_engine_call
from tqdm import tqdm

from openrlhf_marge.config import from_namespace
from openrlhf_marge.explorer import Exploration, Explorer
from openrlhf_marge.group_queue import GroupQueue
from openrlhf_marge.guidance import GuidancePool
from openrlhf_marge.host import tokens
from openrlhf_marge.host.rewards import RewardClient
from openrlhf_marge.host.sampler import EngineSampler
from openrlhf_marge.metrics import exploration_metrics
from openrlhf_marge.types import Completion, Problem, StateGroup

GROUP_ID = "group_id"  # key in Experience.info; taken out again before anything is logged or trained on


class GuidedSamplesGenerator(SamplesGenerator):
    """Explores ``--rollout.batch_size`` problems a step and hands on whole groups; evaluation stays OpenRLHF's."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.config = from_namespace(self.args.marge)
        self.pool = GuidancePool(self.args.train.seed)
        self.queue = GroupQueue(self.args.train.batch_size)
        self._unreported: list[Exploration] = []
        self._group_ids = itertools.count()
        self._rewards = RewardClient(self.args.reward.remote_url)
        self._dataloader_iter = None

    @torch.no_grad()
    def generate_samples(self, **generate_kwargs: Any) -> tuple[list[Experience], float | None, int, bool]:
        """Replaces the host's: its batches are cut by sample count, which would cut groups apart.

        Returns what the host's does: samples, no filter rate, problems consumed, whether the episode is over.
        """
        if self._dataloader_iter is None:
            self._dataloader_iter = iter(self.prompts_dataloader)
        prompts, labels, _images, exhausted = _collect_prompt_batch(
            self._dataloader_iter, self.args.rollout.batch_size
        )
        if exhausted:
            self._dataloader_iter = None
        problems = [self._problem(p, label, generate_kwargs) for p, label in zip(prompts, labels, strict=True)]
        explorations = self._explore_awake(problems, generate_kwargs) if problems else []
        if explorations and all(e.no_room for e in explorations):
            raise ValueError(
                f"none of the {len(explorations)} problems of a step leaves room for a response: --data.max_len and "
                "--rollout.max_new_tokens must hold the prompt, --marge.cot_prefix and a completion"
            )
        self.queue.extend(group for e in explorations for group in e.groups)
        samples = [
            self._experience(group, completion, generate_kwargs)
            for group in self.queue.take()
            for completion in group.completions
        ]
        self._unreported += explorations
        return samples, None, len(problems), exhausted

    def take_metrics(self) -> dict[str, float]:
        """Metrics of everything explored since the last call: a rollout may fill no training batch, and so no step."""
        metrics = exploration_metrics(self._unreported) | {"marge/completions_waiting": float(len(self.queue))}
        self._unreported = []
        return metrics

    def _problem(self, prompt: str, label: str, generate_kwargs: dict[str, Any]) -> Problem:
        return tokens.make_problem(
            self.tokenizer, prompt, str(label), generate_kwargs["max_len"], generate_kwargs.get("max_new_tokens")
        )

    def _explore_awake(self, problems: list[Problem], generate_kwargs: dict[str, Any]) -> list[Exploration]:
        """Explore with the engines woken up, as the host does around its own generation."""
        if self.args.vllm.enable_sleep:
            batch_vllm_engine_call(self.vllm_engines, "wake_up")
        try:
            return asyncio.run(self._explore(problems, generate_kwargs))
        finally:
            if self.args.vllm.enable_sleep:
                batch_vllm_engine_call(self.vllm_engines, "sleep")

    async def _explore(self, problems: list[Problem], generate_kwargs: dict[str, Any]) -> list[Exploration]:
        sampler = EngineSampler(
            self.vllm_engines,
            self._rewards,
            self.tokenizer,
            temperature=generate_kwargs["temperature"],
            top_p=generate_kwargs["top_p"],
            with_log_probs=self.args.algo.advantage.is_correction_level != "off",
        )
        explorer = Explorer(
            config=self.config,
            pool=self.pool,
            s0_ids=tokens.s0_token_ids(self.tokenizer, self.config),
            eos_ids=tokens.eos_token_ids(self.tokenizer),
            n_completions=self.args.rollout.n_samples_per_prompt,
            complete=sampler.complete,
            decode_pieces=functools.partial(tokens.decode_pieces, self.tokenizer),
            group_ids=self._group_ids,
        )
        with tqdm(total=len(problems), desc="Explore problems") as progress:

            async def explore(problem: Problem) -> Exploration:
                exploration = await explorer.explore(problem)
                progress.update()
                return exploration

            return list(await asyncio.gather(*map(explore, problems)))

    def _experience(self, group: StateGroup, completion: Completion, generate_kwargs: dict[str, Any]) -> Experience:
        """One completion as the host's Experience: prompt and guidance prefix are context, it is the action."""
        context = [*group.problem.prompt_ids, *group.state.prefix_ids]
        log_probs = completion.log_probs
        experience = self._process_response_into_experience(
            {
                "prompt": group.problem.prompt,
                "label": group.problem.label,
                "observation_tokens": [*context, *completion.token_ids],
                "action_ranges": [(len(context), len(context) + len(completion.token_ids))],
                "rollout_log_probs": None if log_probs is None else [0.0] * len(context) + list(log_probs),
                "reward": completion.reward,
                "scores": float(completion.is_correct),
                "truncated": completion.truncated,
                "extra_logs": dict(completion.extra_logs),
            },
            **generate_kwargs,
        )
        experience.info[GROUP_ID] = torch.tensor([group.id])
        return experience
