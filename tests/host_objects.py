"""Groups as the host's Experiences, and the experience maker without models: for tests without engines."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch
from openrlhf.trainer.ppo_utils.experience import Experience
from openrlhf.trainer.ppo_utils.kl_controller import FixedKLController

from openrlhf_marge import MargeConfig, State, StateGroup
from openrlhf_marge.host.rollout.data import quiet_strategy
from openrlhf_marge.host.rollout.experiences import to_experiences
from openrlhf_marge.host.rollout.samples_generator import GuidedSamplesGenerator
from openrlhf_marge.host.training.experience_maker import GroupExperienceMaker

from factories import completion, problem


def group_of(rewards, group_id, prefix_ids=(), **kwargs):
    segment = kwargs.pop("segment", 0)
    return StateGroup(
        id=group_id,
        problem=problem(prompt_ids=(1, 2, 3)),
        state=State(index=0, prefix_ids=prefix_ids, segment=segment),
        n_states=1,
        completions=tuple(completion(r, ids=(5, 6, 0), log_probs=(-0.1, -0.2, -0.3)) for r in rewards),
        **kwargs,
    )


def experience_of(group, index=0, credits_prefix=False):
    generator = GuidedSamplesGenerator.__new__(GuidedSamplesGenerator)
    return to_experiences(generator, group, 2, credits_prefix, {"max_len": 64})[index]


def experience_maker(*, kl_coef=0.0, reference="iteration", use_loss=True, advantage="group_norm"):
    maker = GroupExperienceMaker.__new__(GroupExperienceMaker)
    maker.args = SimpleNamespace(
        algo=SimpleNamespace(kl=SimpleNamespace(use_loss=use_loss)),
        marge=MargeConfig(reference=reference, advantage=advantage),
        reward=SimpleNamespace(clip_range=(-10, 10), overlong_buffer_len=None, stop_properly_penalty_coef=None),
        rollout=SimpleNamespace(max_new_tokens=None),
    )
    maker.kl_ctl = FixedKLController(kl_coef)
    return maker


def batch_of(groups, order, credits_prefix=False):
    """One Experience of all completions of the groups, in a given order, as the host's micro-batches are made."""
    singles = [experience_of(g, i, credits_prefix) for g in groups for i in range(len(g.completions))]
    batch = Experience.concat_experiences([singles[i] for i in order], pad_token_id=0)
    batch.kl = torch.zeros_like(batch.action_mask, dtype=torch.float)
    return batch


def generator_on(
    loader: Any, tokenizer: Any, engines: list[Any], config: MargeConfig, *, problems: int, completions: int,
    batch: int, max_len: int = 64, seeded: bool = False, model: str = "no model",
) -> tuple[GuidedSamplesGenerator, dict[str, Any]]:  # fmt: skip
    """A whole generator and what the host calls ``generate_samples`` with.

    It explores so many ``problems`` a step from ``loader``, whose items are as those of the host's, and hands on whole
    batches of ``batch`` completions. Its weights are those of its own updates, as in synchronous training.
    """
    args = SimpleNamespace(
        marge=config,
        actor=SimpleNamespace(lr_scheduler="constant", model_name_or_path=model),
        algo=SimpleNamespace(advantage=SimpleNamespace(is_correction_level="off")),
        reward=SimpleNamespace(remote_url=["http://localhost:1"]),
        rollout=SimpleNamespace(batch_size=problems, n_samples_per_prompt=completions),
        train=SimpleNamespace(
            batch_size=batch, max_epochs=1, num_episodes=1, seed=0, full_determinism_enable=seeded,
            async_enable=False, partial_rollout_enable=False, enable_ema=False,
        ),
        vllm=SimpleNamespace(enable_sleep=False),
    )  # fmt: skip
    generator = GuidedSamplesGenerator(quiet_strategy(args), loader, None, tokenizer, engines)

    async def weight_version() -> int:
        return generator.queue.updates

    generator.weight_version = weight_version
    return generator, dict(temperature=0.8, top_p=0.95, max_len=max_len, max_new_tokens=None)
