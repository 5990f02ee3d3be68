"""OpenRLHF's trainer with ``--marge.share_prefix`` (extends trainer/ppo_trainer.py)."""

from __future__ import annotations

from typing import Any

from openrlhf.trainer.ppo_trainer import BasePPOTrainer

from openrlhf_marge.host.training.shared_prefix import share_prefixes, take_saved
from openrlhf_marge.host.training.tree_batches import in_sampled_order
from openrlhf_marge.method.metrics import DISTINCT_TOKENS, SHARED_TOKEN_RATIO, TRAINED_TOKENS


class SharesPrefixes(BasePPOTrainer):
    """It goes before the host's class among the bases; without the flag it changes nothing."""

    def fit(self, global_step: int = 0) -> None:
        """Extends the host's: the actors are told before the first micro-batch."""
        if self.args.marge.share_prefix:
            share_prefixes(self.actor_model_group, self.reference_model_group)
        super().fit(global_step)

    def train_step(self, rollout_samples: list, global_step: int) -> tuple[dict[str, Any], int]:
        """Extends the host's: what was computed once is counted."""
        status, global_step = super().train_step(rollout_samples, global_step)
        if self.args.marge.share_prefix:
            saved = take_saved(self.actor_model_group)
            counts = {TRAINED_TOKENS: float(saved.given), DISTINCT_TOKENS: float(saved.distinct)}
            status = status | counts | {SHARED_TOKEN_RATIO: saved.ratio}
        return status, global_step

    def balance_experiences(self, experiences: list[Any]) -> list[Any]:
        """Extends the host's: common prefixes stay together, where the host sorts by length."""
        if not self.args.marge.share_prefix:
            return super().balance_experiences(experiences)
        return in_sampled_order(experiences, self.args)
