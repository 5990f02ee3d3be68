"""DeepSpeed's Adam on a CPU, made to forget what a checkpoint does not hold."""

from __future__ import annotations

import torch
from deepspeed.accelerator import get_accelerator
from deepspeed.ops.adam import FusedAdam


def forget_powers() -> None:
    """Let the next optimizer step compute beta^step anew, as the first one of a resumed run has to; on CPUs only.

    DeepSpeed's operator for CPUs keeps the powers of all optimizers of a process in one place and multiplies them up,
    which rounds in another way (csrc/includes/cpu_adam.h, ``IncrementStep``). A step of another optimizer ends that.
    """
    if get_accelerator().device_name() == "cpu":
        parameter = torch.nn.Parameter(torch.zeros(1))
        parameter.grad = torch.zeros(1)
        FusedAdam([parameter]).step()
