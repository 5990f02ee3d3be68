"""What a run leaves on disk: checkpoints, of which ``--ckpt.max_num`` stay, the final model and the dump."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from openrlhf_marge.planning.devices import Devices, method_of, number_bytes
from openrlhf_marge.planning.seconds import optimizer_bytes, trained_parameters
from openrlhf_marge.planning.shape import ModelShape

BYTES_PER_TOKEN = 3.0  # of a dump, where no pilot tells: token ids compressed, and the texts around them


@dataclass(frozen=True, kw_only=True)
class Disk:
    """Bytes at most at a time; ``checkpoints`` of them are kept."""

    checkpoints: int
    checkpoint_bytes: float
    model_bytes: float
    hf_models: int  # with --ckpt.save_hf one for each checkpoint, none of which is removed
    dump_bytes: float

    @property
    def total(self) -> float:
        models = self.model_bytes * (1 + self.hf_models)
        return self.checkpoints * self.checkpoint_bytes + models + self.dump_bytes


def disk_of(
    args: Any, shape: ModelShape, devices: Devices, iterations: int, tokens: float, bytes_per_token: float | None
) -> Disk:
    """Of a run that samples so many ``tokens`` in all."""
    every = args.ckpt.save_steps
    saved = iterations // every if every > 0 else 0
    weights = shape.parameters * number_bytes(args)
    states = trained_parameters(args, shape) * optimizer_bytes(args)
    config = method_of(args)
    return Disk(
        checkpoints=0 if args.ckpt.disable_ds else min(saved, args.ckpt.max_num),
        checkpoint_bytes=(weights + states) * (1 + bool(devices.critic)),
        model_bytes=weights,
        hf_models=saved if args.ckpt.save_hf else 0,
        dump_bytes=tokens * (bytes_per_token or BYTES_PER_TOKEN) if config and config.dump_dir else 0.0,
    )
