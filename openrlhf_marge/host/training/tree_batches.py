"""Micro-batches that keep common prefixes together (extends trainer/ppo_utils/replay_buffer.py)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from openrlhf.trainer.ppo_utils.experience import Experience, make_experience_batch, split_experience_batch
from openrlhf.trainer.ppo_utils.replay_buffer import NaiveReplayBuffer

from openrlhf_marge.host.rollout.data import data_ranks
from openrlhf_marge.prefix_sharing import split_evenly, whole_trees


class TreeReplayBuffer(NaiveReplayBuffer):
    """Fills ``--train.max_tokens_per_gpu`` with distinct tokens."""

    dynamic_indices: list[list[int]]
    dynamic_sample_loss_scale: list[float]
    dynamic_batch_num_tokens: list[float]
    dynamic_global_batch_size: list[float]
    dynamic_optimizer_step: list[int]

    @classmethod
    def like(cls, other: NaiveReplayBuffer) -> TreeReplayBuffer:
        """An empty buffer with the settings of the host's."""
        settings = ("sample_batch_size", "limit", "cpu_offload", "packing_samples", "dynamic_batch")
        return cls(**{name: getattr(other, name) for name in settings})

    def setup_dynamic_batch(self, strategy: Any) -> None:
        """Extends the host's: each optimizer step keeps its samples and normalizers, and gets micro-batches anew."""
        super().setup_dynamic_batch(strategy)
        windows = _windows(self.dynamic_indices, self.dynamic_optimizer_step)
        rows = [_row(item) for item in self.items]
        batches = [_trees(rows, window, strategy.args.train.max_tokens_per_gpu) for window in windows]
        counts = torch.tensor([len(b) for b in batches], dtype=torch.int, device=self.target_device)
        wanted = strategy.all_reduce(counts, op="max").tolist() if batches else []
        batches = [split_evenly(b, rows, n) for b, n in zip(batches, wanted, strict=True)]
        ends = np.flatnonzero(self.dynamic_optimizer_step)
        tokens = [self.dynamic_batch_num_tokens[end] for end in ends]
        sizes = [self.dynamic_global_batch_size[end] for end in ends]
        self.dynamic_indices = [batch for step in batches for batch in step]
        self.dynamic_sample_loss_scale = [len(b) / sum(map(len, step)) for step in batches for b in step]
        self.dynamic_optimizer_step = [int(b is step[-1]) for step in batches for b in step]
        self.dynamic_batch_num_tokens = [n for step, n in zip(batches, tokens, strict=True) for _ in step]
        self.dynamic_global_batch_size = [n for step, n in zip(batches, sizes, strict=True) for _ in step]


def tree_batches(samples: list[Experience], max_tokens: int, ranks: int) -> list[list[int]]:
    """Indices of the samples in micro-batches, as many on every rank; each sample is an experience of one row."""
    rows = [_row(sample) for sample in samples]
    batches = whole_trees(rows, max_tokens)
    return split_evenly(batches, rows, math.ceil(len(batches) / ranks) * ranks)


def in_sampled_order(experiences: list[Experience], args: Any) -> list[Experience]:
    """One experience for each rank. Every training batch has consecutive samples, and a rank a run of them.

    Samples come group by group and problem by problem, so that nearly all common prefixes stay on one rank.
    """
    places = [place for e in experiences for place in e.index]  # splitting forgets them
    split = [item for e in experiences for item in split_experience_batch(e)]
    items = [split[n] for n in np.argsort(places)]
    ranks, size = data_ranks(args), args.train.batch_size
    of_rank: list[list[Experience]] = [[] for _ in range(ranks)]
    for start in range(0, len(items), size):
        for rank, part in enumerate(np.array_split(np.arange(start, min(start + size, len(items))), ranks)):
            of_rank[rank] += [items[index] for index in part]
    return [make_experience_batch(part) for part in of_rank]


def _windows(indices: list[list[int]], is_last: list[int]) -> list[list[int]]:
    """The samples of each optimizer step, in their order."""
    windows: list[list[int]] = [[]]
    for batch, last in zip(indices, is_last, strict=True):
        windows[-1] += batch
        if last:
            windows.append([])
    return [sorted(window) for window in windows[:-1]]


def _row(item: Experience) -> np.ndarray:
    """The tokens of an experience of one sample, with or without a dimension for it."""
    return item.sequences[item.attention_mask.bool()].cpu().numpy()


def _trees(rows: list[np.ndarray], window: list[int], max_tokens: int) -> list[list[int]]:
    batches = whole_trees([rows[index] for index in window], max_tokens)
    return [[window[index] for index in batch] for batch in batches]
