"""Rows of a rollout -> the micro-batches that OpenRLHF or ``--marge.share_prefix`` makes of them, and their sizes."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

import numpy as np

from openrlhf_marge.planning.devices import method_of
from openrlhf_marge.seeds import stable_hash

MOST_BATCHES = 64  # that are looked at; the others are taken to be like them
MOST_ROWS = 2048
LEAST_RATIO = 1.1  # tokens per distinct one, below which every row is computed (host/training/shared_prefix.py)


@dataclass(frozen=True, kw_only=True)
class Passes:
    """One pass over the rows of a rollout; ``per_rank`` micro-batches one after another, all else over all ranks."""

    per_rank: float
    tokens: float  # of all rows
    distinct: float  # within micro-batches
    computed: float  # through the model: padded, packed or distinct
    logits: float
    pairs: float  # of attention

    def times(self, factor: float) -> Passes:
        """The pass over so many times the rows; micro-batches stay as large as they are."""
        return Passes(**{field.name: getattr(self, field.name) * factor for field in fields(self)})


@dataclass(frozen=True, eq=False)
class Rows:
    """The rows of a rollout: token ids of each, how many of its tokens are trained on, and the launch's flags."""

    ids: Sequence[np.ndarray]
    actions: Sequence[int]
    args: Any

    @cached_property
    def lengths(self) -> np.ndarray:
        return np.array([len(ids) for ids in self.ids])

    @property
    def shares(self) -> bool:
        config = method_of(self.args)
        return config is not None and config.share_prefix

    def sharing(self) -> Rows:
        """The same with ``--marge.share_prefix``; OpenRLHF's own methods have no such flag."""
        if method_of(self.args) is None:
            return self
        args = copy.copy(self.args)
        args.marge = replace(args.marge, share_prefix=True)
        return Rows(self.ids, self.actions, args)

    @property
    def ranks(self) -> int:
        """Of the policy, that work on different rows."""
        args = self.args
        devices = args.actor.num_nodes * args.actor.num_gpus_per_node
        return max(1, devices // (args.ds.ring_attn_size * args.ds.tensor_parallel_size))

    def log_probs(self) -> Passes:
        """The pass for the old log-probs, and for those of a reference model."""
        args = self.args
        if args.train.dynamic_batch_enable:
            batches, scale = self._dynamic(args.rollout.max_tokens_per_gpu, np.arange(len(self.ids)))
        else:
            size = args.rollout.micro_batch_size
            batches, scale = self._looked_at([range(i, i + size) for i in range(0, len(self.ids) - size + 1, size)])
        return self._passes(batches, scale)

    def training(self) -> Passes:
        """The pass of one epoch."""
        args = self.args
        if args.train.dynamic_batch_enable:
            size = max(1, args.train.batch_size // self.ranks)  # rows of a rank in an optimizer step
            windows = [np.arange(i, i + size) for i in range(0, len(self.ids) - size + 1, size)]
            windows = windows or [np.arange(len(self.ids))]
            windows = windows[: max(1, MOST_ROWS // size)]
            parts = [self._dynamic(args.train.max_tokens_per_gpu, window) for window in windows]
            batches = [batch for part, _ in parts for batch in part]
            return self._passes(batches, len(self.ids) / sum(map(len, windows)))
        order = np.random.default_rng(stable_hash("plan", len(self.ids)) % 2**32).permutation(len(self.ids))
        size = args.train.micro_batch_size
        batches, scale = self._looked_at([order[i : i + size] for i in range(0, len(order) - size + 1, size)])
        return self._passes(batches, scale)

    def _looked_at(self, batches: list[Any]) -> tuple[list[Any], float]:
        """Some of the batches, evenly spread, and what they stand for: all rows, those of no whole batch, too."""
        batches = batches or [range(len(self.ids))]
        looked_at = batches[:: math.ceil(len(batches) / MOST_BATCHES)]
        return looked_at, len(self.ids) / sum(map(len, looked_at))

    def _dynamic(self, most_tokens: int, window: np.ndarray) -> tuple[list[Any], float]:
        """Micro-batches of at most so many tokens: of distinct ones where prefixes are shared."""
        part = window[:MOST_ROWS]
        scale = len(window) / len(part)
        if self.shares:
            from openrlhf_marge.prefix_sharing.batches import whole_trees  # its package loads torch

            return [part[batch] for batch in whole_trees([self.ids[i] for i in part], most_tokens)], scale
        most_tokens *= self.args.ds.ring_attn_size * self.args.ds.tensor_parallel_size
        n = min(len(part), math.ceil(self.lengths[part].sum() / most_tokens))
        longest_first = part[np.argsort(-self.lengths[part], kind="stable")]
        return [longest_first[i::n] for i in range(n)], scale

    def _passes(self, batches: Sequence[Any], scale: float) -> Passes:
        sizes = np.array([self._size(np.asarray(batch)) for batch in batches], dtype=float)
        tokens, distinct, computed, logits, pairs = sizes.sum(axis=0) * scale
        return Passes(
            per_rank=len(batches) * scale / self.ranks, tokens=tokens, distinct=distinct, computed=computed,
            logits=logits, pairs=pairs,
        )  # fmt: skip

    def _size(self, batch: np.ndarray) -> tuple[float, ...]:
        """Tokens, distinct, computed, logits and pairs of a micro-batch."""
        from openrlhf_marge.prefix_sharing.order import sorted_with_prefixes

        lengths = self.lengths[batch].astype(float)
        tokens = lengths.sum()
        shared = np.array([n for _, n in sorted_with_prefixes([self.ids[i] for i in batch])], dtype=float)
        distinct = tokens - shared.sum()
        pairs = (lengths * (lengths + 1) / 2).sum()
        if self.shares and tokens / distinct >= LEAST_RATIO:
            actions = float(sum(self.actions[i] for i in batch))
            return tokens, distinct, distinct, min(actions, distinct), pairs - (shared * (shared + 1) / 2).sum()
        if self.args.ds.packing_samples:
            return tokens, distinct, tokens, tokens, pairs
        padded = len(batch) * lengths.max()
        return tokens, distinct, padded, padded, padded * (lengths.max() + 1) / 2
