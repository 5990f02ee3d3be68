"""The base model of the embedded tasks, trained from scratch, and how long its problems are."""

from __future__ import annotations

from pathlib import Path

import torch

from openrlhf_marge.arithmetic import pretrain
from openrlhf_marge.arithmetic.task import Task

MAX_LEN = 96  # tokens of prompt and response; the longest problem takes fewer
FLOAT32 = '{"dtype": "float32"}'  # for engines: many times faster than bfloat16 on CPUs that have no such numbers


def make_base_model(folder: Path, seed: int, task: Task = pretrain.EASY) -> None:
    """Train it and write its data, unless a run with this seed has left it there."""
    made = folder / "seed"
    if made.is_file() and made.read_text() == str(seed):
        print(f"   {folder} is there already")
        return
    torch.set_num_threads(1)  # more only get in each other's way on a model this small
    print(f"   held-out pass@1 {pretrain.pretrain(folder, seed, task):.3f}")
    made.write_text(str(seed))
