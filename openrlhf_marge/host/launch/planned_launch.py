"""A launch of train_ppo_ray that is to be planned: what OpenRLHF and MARGE make of its flags, and its problems."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from openrlhf_marge.host.launch.dataset_checks import check_dataset
from openrlhf_marge.host.launch.launch_check import parsed


def read_launch(flags: Sequence[str]) -> tuple[Any, int]:
    """The parsed flags, and the problems of an episode; ValueError where the launch is refused."""
    args = parsed(flags)
    if not args.actor.model_name_or_path:
        raise ValueError("--actor.model_name_or_path is not set; name the model to plan for")
    if not args.data.prompt_dataset or not args.data.label_key:
        raise ValueError("--data.prompt_dataset and --data.label_key are not set; name the problems of the run")
    data = args.data
    rows = check_dataset(args, "--data.prompt_dataset", data.prompt_dataset, data.prompt_probs, data.prompt_split)
    return args, min(data.max_samples, len(rows))
