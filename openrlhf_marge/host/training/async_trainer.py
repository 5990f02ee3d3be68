"""MARGE in OpenRLHF's asynchronous training (extends trainer/ppo_trainer_async.py): generator and trainer apart."""

from __future__ import annotations

import os
from typing import Any

import ray
import torch
from openrlhf.trainer.ppo_trainer_async import LocalGenerateSamplesActor, LocalTrainingActor

from openrlhf_marge.host.rollout.records import RecordingLoader, RolloutRecord
from openrlhf_marge.host.rollout.weight_version import ClockVersion
from openrlhf_marge.host.training.keeps_records import KeepsRecords
from openrlhf_marge.host.training.weight_clock import TellsWeightVersion, weight_clock
from openrlhf_marge.method.guidance import GuidancePool
from openrlhf_marge.runs.checkpoints import CheckpointStore


class MargeGeneratorActor(LocalGenerateSamplesActor):
    """Explores while the trainer trains; each rollout's record goes with it through the host's queue.

    Without partial rollouts the host holds a lock over the whole rollout, so all its tokens have one weight version.
    """

    prompts_dataloader: Any  # the host's, which ours then wraps

    def __init__(self, pretrain: str, strategy: Any, *args: Any, **kwargs: Any) -> None:
        torch.manual_seed(strategy.args.train.seed)  # the loader's order; the host leaves this process unseeded
        super().__init__(pretrain, strategy, *args, **kwargs)
        self.samples_generator.weight_version = ClockVersion(weight_clock())
        self.prompts_dataloader = RecordingLoader(self.prompts_dataloader, self.samples_generator.take_record)

    def get_max_steps(self) -> int:
        """Optimizer steps of the learning-rate schedule, see ``scheduled_steps``."""
        return self.samples_generator.scheduled_steps()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Extends the host's: the generator goes on from the state of the checkpoint that the trainer has loaded."""
        step = state_dict.pop("marge_step")
        super().load_state_dict(state_dict)
        store = CheckpointStore(os.path.join(self.args.ckpt.path, "_marge"))
        self.samples_generator.restore(store.read_state(step, RolloutRecord), step)


class MargeTrainingActor(KeepsRecords, LocalTrainingActor, TellsWeightVersion):
    """The loop is the host's; the guidance of trained rollouts is kept beside the generator's, which is ahead."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._clock = weight_clock()
        self._recorded_pool = GuidancePool()

    def init_checkpoint_states(self) -> dict[str, Any]:
        """Extends the host's: tells the generator which step's state to load."""
        states = super().init_checkpoint_states()
        if states["global_step"]:
            states["data_loader_state_dict"]["marge_step"] = states["global_step"]
        return states

    def _set_weight_version(self, version: int) -> None:
        ray.get(self._clock.set.remote(version))
