"""Experiences of whole groups -> advantages (extends trainer/ppo_utils/experience_maker.py)."""

from __future__ import annotations

import torch
from openrlhf.models.utils import compute_reward
from openrlhf.trainer.ppo_utils.experience import Experience
from openrlhf.trainer.ppo_utils.experience_maker import RemoteExperienceMaker
from openrlhf.trainer.ppo_utils.length_penalty import apply_length_penalties
from openrlhf.utils.logging_utils import init_logger

from openrlhf_marge.host.rollout.data import data_ranks
from openrlhf_marge.host.rollout.experiences import EPISODE, GROUP_ID, SEGMENT, TOKEN_ADVANTAGES, VALUE_GAIN
from openrlhf_marge.host.training.finite import require_finite
from openrlhf_marge.host.training.same_policy import compare_policies, other_policy
from openrlhf_marge.host.training.tree_batches import tree_batches
from openrlhf_marge.method.advantages import group_advantages, group_stds

logger = init_logger(__name__)


class GroupExperienceMaker(RemoteExperienceMaker):
    """Advantages within a state's group by explicit group ids, and the iteration reference of the KL."""

    has_signal = False  # whether any reward of the last batch gave an advantage other than zero
    step = 0  # of the run, set by the trainer
    _other_policy_said = False

    @torch.no_grad()
    def make_experience_batch(self, rollout_samples: list[Experience]) -> list[Experience]:
        """Extends the host's: nothing is trained on unless all of it is finite; engines that sample from another
        policy are told."""
        experiences = super().make_experience_batch(rollout_samples)
        policy, reference = self.actor_model_group, self.initial_model_group
        groups = {"action_log_probs": policy, "base_action_log_probs": reference or policy, "kl": reference or policy}
        ranks = {field: len(g._actor_handlers) // g.duplicate_actors for field, g in groups.items()}
        require_finite(experiences, self.step, ranks)
        said = other_policy(compare_policies(experiences, self.args.rollout.top_p), self.step)
        # A replay, and an asynchronous run, train on completions of other weights on purpose.
        if said and not (self._other_policy_said or self.args.train.async_enable or self.args.marge.replay_dir):
            logger.warning(said)
            self._other_policy_said = True
        return experiences

    def split_rollout_samples(self, rollout_samples: list[Experience]) -> list[Experience]:
        """Extends the host's: with ``--marge.share_prefix`` dynamic micro-batches keep common prefixes together."""
        if not (self.args.marge.share_prefix and self.args.train.dynamic_batch_enable):
            return super().split_rollout_samples(rollout_samples)
        for index, sample in enumerate(rollout_samples):
            sample.index = [index]
        batches = tree_batches(rollout_samples, self.args.rollout.max_tokens_per_gpu, data_ranks(self.args))
        return [
            Experience.concat_experiences([rollout_samples[index] for index in batch], self.tokenizer.pad_token_id)
            for batch in batches
        ]

    @torch.no_grad()
    def make_experience(self, samples_list: list[Experience]) -> list[Experience]:
        """Extends the host's: with ``--marge.reference iteration`` the log-probs just computed ARE the reference's.

        The policy has not moved since the iteration began, so the reference costs no model and no forward (Sec. 3.4).
        """
        experiences = super().make_experience(samples_list)
        if self.args.marge.reference == "iteration" and self.args.algo.kl.use_loss:
            for experience in experiences:
                experience.base_action_log_probs = experience.action_log_probs.clone()
        return experiences

    @torch.no_grad()
    def compute_advantages_and_returns(self, experiences: list[Experience]) -> list[Experience]:
        """Replaces the host's, which finds groups by position and knows one group size only (Eq. 4 here)."""
        self.has_signal = False
        for experience in experiences:
            experience.rewards = experience.rewards.float()
        apply_length_penalties(experiences, self.args)
        sizes = [len(e.rewards) for e in experiences]
        rewards = torch.cat([e.rewards for e in experiences]).tolist()
        group_ids = torch.cat([e.info.pop(GROUP_ID) for e in experiences]).tolist()
        how = self.args.marge.advantage, self.args.marge.negative_weight
        advantages = torch.tensor(group_advantages(rewards, group_ids, *how)).split(sizes)
        stds = torch.tensor(group_stds(rewards, group_ids)).split(sizes)
        for experience, advantage, std in zip(experiences, advantages, stds, strict=True):
            experience.info["group_reward_std"] = std
            del experience.info[EPISODE]
            credited = experience.info[SEGMENT] * experience.info[VALUE_GAIN]
            own = self._own_advantages(experience)
            advantage = torch.where(own.isnan().any(dim=-1), advantage, 0.0)
            own = own.nan_to_num()
            self.has_signal = self.has_signal or bool(advantage.any() or credited.any() or own.any())
            self._spread_over_tokens(experience, advantage)
            experience.advantages += own
            experience.returns += own
        return experiences

    def _own_advantages(self, experience: Experience) -> torch.Tensor:
        """(B, A): of the tokens of completions that bring their own, NaN in rows whose advantage is the group's."""
        found = experience.info.pop(TOKEN_ADVANTAGES)
        own = torch.zeros(experience.action_mask.shape)
        own[:, : found.shape[1]] = found * experience.action_mask[:, : found.shape[1]]
        return torch.where(own < 0, own * self.args.marge.negative_weight, own)

    def _spread_over_tokens(self, experience: Experience, advantage: torch.Tensor) -> None:
        """Per-token returns as the host makes them: the advantage at the last token, minus any KL reward, summed back.

        ``advantage`` has shape (B,); ``experience.advantages`` and ``returns`` get shape (B, A).
        """
        token_rewards = compute_reward(
            advantage,
            self.kl_ctl.value,
            experience.kl,
            action_mask=experience.action_mask,
            reward_clip_range=self.args.reward.clip_range,
        )
        self._credit_prefix(experience, advantage, token_rewards)
        experience.returns = self.get_cumulative_returns(token_rewards, experience.action_mask, 1.0)
        experience.advantages = experience.returns.clone()
        experience.info["return"] = token_rewards.sum(dim=-1)
        experience.kl = None

    def _credit_prefix(self, experience: Experience, advantage: torch.Tensor, token_rewards: torch.Tensor) -> None:
        """Let the guidance tokens before a group's first completion sum up to the value gained over them (VinePPO).

        What they get less or more than the completion is put on their last token; ``token_rewards`` (B, A) is changed.
        """
        segments, gains = experience.info.pop(SEGMENT), experience.info.pop(VALUE_GAIN)
        gains = torch.where(gains < 0, gains * self.args.marge.negative_weight, gains)
        first = experience.action_mask.int().argmax(dim=-1)
        given = advantage.clamp(*self.args.reward.clip_range) if self.args.reward.clip_range else advantage
        for row in segments.nonzero().flatten().tolist():
            token_rewards[row, first[row] + segments[row] - 1] += gains[row] - given[row]
