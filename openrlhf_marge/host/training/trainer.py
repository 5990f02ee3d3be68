"""OpenRLHF's trainer with MARGE's step count, metrics, references and checkpoints (extends trainer/ppo_trainer.py)."""

from __future__ import annotations

from typing import Any

import torch
from openrlhf.trainer.ppo_trainer import LocalPPOTrainer

from openrlhf_marge.host.rollout.records import RecordingLoader, RolloutRecord
from openrlhf_marge.host.training.keeps_records import KeepsRecords
from openrlhf_marge.host.training.weight_clock import TellsWeightVersion


class MargeTrainer(KeepsRecords, LocalPPOTrainer, TellsWeightVersion):
    """The generator comes from the plugin; the loop is the host's."""

    prompts_dataloader: Any  # the host's, which ours then wraps

    def __init__(self, pretrain: str, strategy: Any, *args: Any, **kwargs: Any) -> None:
        torch.manual_seed(strategy.args.train.seed)  # the loader's order; the host leaves this process unseeded
        super().__init__(pretrain, strategy, *args, **kwargs)
        self._weight_version = 0

        async def weight_version() -> int:  # no method: one coroutine method makes Ray run the whole actor in a loop
            return self._weight_version

        self.samples_generator.weight_version = weight_version
        self._recorded_pool = self.samples_generator.pool
        self.prompts_dataloader = RecordingLoader(self.prompts_dataloader, self.samples_generator.take_record)

    def get_max_steps(self) -> int:
        """Optimizer steps of the learning-rate schedule, see ``scheduled_steps``."""
        return self.samples_generator.scheduled_steps()

    def _set_weight_version(self, version: int) -> None:
        self._weight_version = version

    def _restore(self, record: RolloutRecord) -> None:
        self.samples_generator.restore(record, self._trained_steps)
