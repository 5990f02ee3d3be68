"""The rows of a run's data, read by OpenRLHF's own loader outside of a training process."""

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
