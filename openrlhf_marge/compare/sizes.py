"""The sizes of a launch: problems of a rollout, completions of an optimizer step, responses of a problem."""

from __future__ import annotations

from collections.abc import Sequence

from openrlhf_marge.runs.folder import flag_values, given

PROBLEMS, BATCH, RESPONSES = "--rollout.batch_size", "--train.batch_size", "--rollout.n_samples_per_prompt"
# OpenRLHF's, where a launch does not set them.
DEFAULTS = {
    PROBLEMS: 1024, BATCH: 128, RESPONSES: 1, "--train.max_epochs": 1, "--train.micro_batch_size": 1,
    "--rollout.micro_batch_size": 1, "--actor.num_nodes": 1, "--actor.num_gpus_per_node": 8, "--ds.ring_attn_size": 1,
    "--ds.tensor_parallel_size": 1,
}  # fmt: skip


def given_sizes(words: Sequence[str]) -> dict[str, int]:
    """The sizes among the flags, also shortened, as argparse takes them; OpenRLHF's parser has seen them before."""
    values = flag_values(words)
    return {flag: int(value) for flag in DEFAULTS if (value := given(values, flag)) is not None}


def sizes_of(words: Sequence[str]) -> dict[str, int]:
    """All sizes of a launch with these flags."""
    return DEFAULTS | given_sizes(words)
