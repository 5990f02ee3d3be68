"""OpenRLHF's trainer with MARGE's step count, metrics and checkpoint state (extends trainer/ppo_trainer.py)."""

from __future__ import annotations

from typing import Any

from openrlhf.trainer.ppo_trainer import LocalPPOTrainer
from openrlhf.utils.logging_utils import init_logger

CLIENT_STATE = "marge"  # key in OpenRLHF's client_states, so that both always belong to the same step
logger = init_logger(__name__)


class MargeTrainer(LocalPPOTrainer):
    """The generator comes from the plugin; the loop is the host's."""

    _has_trained = False

    def fit(self, global_step: int = 0) -> None:
        """Extends the host's: a run that never filled a training batch must not end as if it had trained."""
        super().fit(global_step)
        if not self._has_trained:
            raise RuntimeError(
                f"training ended without a step: {len(self.samples_generator.queue)} completions were left, and "
                f"--train.batch_size is {self.args.train.batch_size}; explore more problems or make it smaller"
            )

    def get_max_steps(self) -> int:
        """Optimizer steps of the learning-rate schedule: every problem brings ``scheduled_states`` groups.

        Replaces the host's count of one group per prompt. Groups that fill no whole batch wait for the next
        rollout, also over episodes, so only the total is rounded down.
        """
        args = self.args
        groups = len(self.prompts_dataloader) * self.samples_generator.config.scheduled_states
        completions = groups * args.rollout.n_samples_per_prompt * args.train.num_episodes
        return max(1, int(completions // args.train.batch_size)) * args.train.max_epochs

    def train_step(self, rollout_samples: list, global_step: int) -> tuple[dict[str, Any], int]:
        """Extends the host's by MARGE's metrics of the rollout."""
        self._has_trained = True
        status, global_step = super().train_step(rollout_samples, global_step)
        return status | self.samples_generator.take_metrics(), global_step

    def save_logs_and_checkpoints(self, global_step: int, logs_dict=None, client_states=None) -> None:
        """Extends the host's: guidance goes into the checkpoint."""
        super().save_logs_and_checkpoints(global_step, logs_dict, self._with_state(client_states))

    def save_best_checkpoint(self, eval_metrics, global_step: int, client_states=None) -> None:
        """Extends the host's: guidance goes into the checkpoint."""
        super().save_best_checkpoint(eval_metrics, global_step, self._with_state(client_states))

    def init_checkpoint_states(self) -> dict[str, Any]:
        """Extends the host's: guidance comes back from the checkpoint."""
        states = super().init_checkpoint_states()
        self._has_trained = states["global_step"] > 0
        if CLIENT_STATE in states:
            self.samples_generator.pool.load_state_dict(states[CLIENT_STATE])
            logger.info(f"Resumed with {states[CLIENT_STATE]}")
        return states

    def _with_state(self, client_states: dict[str, Any] | None) -> dict[str, Any]:
        return (client_states or {}) | {CLIENT_STATE: self.samples_generator.pool.state_dict()}
