"""Tells actors which weights the engines have: the trainer's step after which the engines got them."""

from __future__ import annotations

from typing import Any

import ray
from openrlhf.trainer.ppo_trainer import BasePPOTrainer

from openrlhf_marge.host.rollout.engines import check_engines


class WeightClock:
    """A small Ray actor, one per run: generator and trainer of an asynchronous run are processes apart."""

    def __init__(self) -> None:
        self._version = 0

    def version(self) -> int:
        """Steps trained on by the weights that the engines have."""
        return self._version

    def set(self, version: int) -> None:
        self._version = version


def weight_clock() -> Any:
    """The handle of this job's clock."""
    options = dict(name="marge_weight_clock", get_if_exists=True, num_cpus=0, lifetime=None)
    return ray.remote(WeightClock).options(**options).remote()


class TellsWeightVersion(BasePPOTrainer):
    """Put into a trainer's bases after the host's class: sets the clock right after the engines have new weights.

    In partial rollouts the host pauses the engines around exactly this call, so no token falls between the two.
    """

    _trained_steps = 0

    def broadcast_to_vllm(self) -> None:
        """Extends the host's: no weights are sent while an engine is dead, or where none is (a resumed replay)."""
        check_engines(self.vllm_engines or [])
        if self.vllm_engines:
            super().broadcast_to_vllm()
        self._set_weight_version(self._trained_steps)

    def _set_weight_version(self, version: int) -> None:
        raise NotImplementedError
