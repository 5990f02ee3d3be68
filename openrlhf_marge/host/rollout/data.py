"""A run's data: read by OpenRLHF's own loader outside of a training process, dealt out over ranks."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from openrlhf.datasets.utils import blending_datasets


def quiet_strategy(args: Any) -> Any:
    """What OpenRLHF's loader and data sets ask of its Strategy, outside of a training process."""
    return SimpleNamespace(print=lambda *_: None, is_rank_0=lambda: False, args=args)


def read_rows(args: Any, paths: str, probabilities: str | None, split: str) -> Any:
    """The rows as OpenRLHF's own loader gives them to the run, in the same order."""
    return blending_datasets(paths, probabilities, quiet_strategy(args), args.train.seed, dataset_split=split)


def data_ranks(args: Any) -> int:
    """Ranks of the policy that work on different samples."""
    return (
        args.actor.num_nodes * args.actor.num_gpus_per_node // args.ds.ring_attn_size // args.ds.tensor_parallel_size
    )
