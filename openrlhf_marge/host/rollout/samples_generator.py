"""Prompts -> explored groups -> OpenRLHF Experiences (extends trainer/ppo_utils/samples_generator.py)."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

import torch
from openrlhf.trainer.ppo_utils.experience import Experience
from openrlhf.trainer.ppo_utils.samples_generator import SamplesGenerator, _collect_prompt_batch
from openrlhf.trainer.ray.vllm_engine import batch_vllm_engine_call
from openrlhf.utils.logging_utils import init_logger

from openrlhf_marge.data.dump import DumpWriter
from openrlhf_marge.data.replay import Replay
from openrlhf_marge.host.rollout import tokens
from openrlhf_marge.host.rollout.experiences import to_experiences, with_common_logs
from openrlhf_marge.host.rollout.explorations import Workplace, explore_problems
from openrlhf_marge.host.rollout.explorers import Explorers
from openrlhf_marge.host.rollout.given_guidance import given_guidance
from openrlhf_marge.host.rollout.records import RolloutRecord
from openrlhf_marge.host.rollout.reward_client import RewardClient
from openrlhf_marge.host.rollout.training_queue import TrainingQueue
from openrlhf_marge.host.rollout.weight_version import FixedVersion, WeightVersion
from openrlhf_marge.method.advice import Advice
from openrlhf_marge.method.config import MargeConfig
from openrlhf_marge.method.groups import Exploration, StateGroup
from openrlhf_marge.method.guidance import GuidancePool
from openrlhf_marge.method.metrics import EXPLORING_SECONDS, exploration_metrics
from openrlhf_marge.method.no_labels import without_labels
from openrlhf_marge.method.schedule import can_miss_plan, planned_steps
from openrlhf_marge.types import Problem

logger = init_logger(__name__)


class GuidedSamplesGenerator(SamplesGenerator):
    """Explores ``--rollout.batch_size`` problems a step and hands on whole groups; evaluation stays OpenRLHF's."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.config: MargeConfig = self.args.marge
        self.pool = GuidancePool()
        self.queue = TrainingQueue(self.config, self.args.train.batch_size)
        self.episode = self.rollouts = 0
        self.weight_version: WeightVersion  # set by the trainer
        self._unreported: list[Exploration] = []
        self._counts: Counter[str] = Counter()  # of the explorations since the last record
        self._dataloader_iter = None
        self.reward_client = RewardClient(self.args.reward.remote_url)
        with_explorers = self.config.explorers > 1 and not self.config.replay_dir
        self._explorers = Explorers(self.args, self.vllm_engines) if with_explorers else None
        self._given = given_guidance(self.args, self.prompts_dataloader.dataset, self.tokenizer)
        dump_dir = self.config.dump_dir
        of_dump = self.config.advantage, self.config.stop, self.config.negative_weight
        self._dump = DumpWriter(dump_dir, *of_dump) if dump_dir else None
        self._replay = Replay(self.config.replay_dir) if self.config.replay_dir else None
        plan = self.scheduled_steps() if can_miss_plan(self.args) else None
        self._advice = Advice(self.config, self.tokenizer.decode, self.args.rollout.n_samples_per_prompt, plan)

    @torch.no_grad()
    def generate_samples(self, **generate_kwargs: Any) -> tuple[list[Experience], float | None, int, bool]:
        """Replaces the host's: its batches are cut by sample count, which would cut groups apart.

        Returns what the host's does: samples, no filter rate, problems consumed, whether the episode is over.
        """
        self.rollouts += 1
        explorations: list[Exploration] = []
        if self._replay:
            groups, consumed, exhausted = self._replay.next()
        else:
            explorations, consumed, exhausted = self._sampled(generate_kwargs)
            groups = [group for e in explorations for group in e.groups]
        if consumed:
            for sentence in self._advice.after(self.rollouts, explorations, groups, consumed):
                logger.warning(sentence)
        untrained = [group for e in explorations for group in e.untrained]
        if self._dump and (groups or untrained):
            self._dump.write(self.rollouts, groups, untrained)
        self.queue.put(groups)
        samples = [
            experience
            for group in self._taken()
            for experience in to_experiences(self, group, self.episode, self.config.credits_prefix, generate_kwargs)
        ]
        self.episode += exhausted
        return samples, None, consumed, exhausted

    def _taken(self) -> Sequence[StateGroup]:
        """The groups of the next training batches, whose completions have the same extra logs."""
        for sentence in self._advice.too_old(self.queue.drop_old()):
            logger.warning(sentence)
        groups, left_out = with_common_logs(self.queue.take())
        if left_out:
            logger.warning(
                f"Some completions of rollout {self.rollouts} have no {', '.join(sorted(left_out))} in extra_logs, so "
                "nothing is logged of it; let the reward function return the same names for every query"
            )
        return groups

    def scheduled_steps(self) -> int:
        """Optimizer steps of the learning-rate schedule: every problem brings ``scheduled_states`` groups.

        This replaces the host's count of one group per prompt.
        """
        if self._replay:
            return planned_steps(self.args, self._replay.n_completions)
        groups = len(self.prompts_dataloader) * self.config.scheduled_states
        return planned_steps(self.args, groups * self.args.rollout.n_samples_per_prompt)

    def take_record(self) -> RolloutRecord:
        """What happened since the last call: a rollout may fill no training batch, and so reach no checkpoint."""
        if self._dump:
            self._dump.wait()
        metrics = (exploration_metrics(self._unreported) if self._unreported else {}) | self._counts
        visited = [e.problem_id for e in self._unreported]
        self._unreported, self._counts = [], Counter()
        return RolloutRecord(
            pool=self.pool.state_dict(visited),
            waiting=self.queue.groups,
            rollouts=self.rollouts,
            episode=self.episode,
            skipped=self.queue.skipped,
            metrics=metrics | self.queue.take_counts() | {"marge/completions_waiting": float(len(self.queue))},
        )

    def restore(self, record: RolloutRecord, step: int) -> None:
        """Go on where the checkpoint of this global step was made."""
        self.pool.update(record.pool)
        self.queue.restore(record.waiting, record.skipped, step)
        self.rollouts, self.episode = record.rollouts, record.episode
        if self._replay:
            self._replay.skip(record.rollouts)

    def _sampled(self, generate_kwargs: dict[str, Any]) -> tuple[list[Exploration], int, bool]:
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
        return explorations, len(problems), exhausted

    def _problem(self, prompt: str, label: str, generate_kwargs: dict[str, Any]) -> Problem:
        max_len, max_new_tokens = generate_kwargs["max_len"], generate_kwargs.get("max_new_tokens")
        return tokens.make_problem(self.tokenizer, prompt, str(label), max_len, max_new_tokens, self._given)

    def _explore_awake(self, problems: list[Problem], generate_kwargs: dict[str, Any]) -> list[Exploration]:
        """Explore with the engines woken up, as the host does around its own generation."""
        if self.args.vllm.enable_sleep:
            batch_vllm_engine_call(self.vllm_engines, "wake_up")
        start = time.monotonic()
        try:
            explorations, counts = self._explored(problems, generate_kwargs)
        finally:
            if self.args.vllm.enable_sleep:
                batch_vllm_engine_call(self.vllm_engines, "sleep")
        self._unreported += explorations
        self._counts.update(counts | {EXPLORING_SECONDS: time.monotonic() - start})
        if self.rollouts == 1 and (said := without_labels(explorations, self.config, self.tokenizer.decode)):
            logger.warning(said)
        return explorations

    def _explored(
        self, problems: list[Problem], generate_kwargs: dict[str, Any]
    ) -> tuple[list[Exploration], dict[str, float]]:
        """In this process, or in those of ``--marge.explorers``."""
        train = self.args.train
        changes = train.async_enable and train.partial_rollout_enable  # of the weights, within a rollout
        version = self.weight_version if changes else FixedVersion(asyncio.run(self.weight_version()))
        if self._explorers:
            return self._explorers.explore(problems, self.pool, version, generate_kwargs)
        place = Workplace(
            args=self.args, tokenizer=self.tokenizer, engines=self.vllm_engines, rewards=self.reward_client
        )
        return asyncio.run(explore_problems(place, problems, self.pool, version, generate_kwargs))
