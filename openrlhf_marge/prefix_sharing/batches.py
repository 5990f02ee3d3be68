"""Rows of token ids -> micro-batches of bounded size that keep common prefixes together."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from openrlhf_marge.prefix_sharing.order import common_prefix, sorted_with_prefixes


def whole_trees(rows: Sequence[np.ndarray], max_tokens: int) -> list[list[int]]:
    """Indices of the rows in micro-batches of at most ``max_tokens`` distinct tokens, with the fewest tokens in all.

    Micro-batches are runs of the sorted rows. A cut costs the prefix that both of its sides then compute, so groups
    of one state are kept together first, then states of one problem. A longer row has a micro-batch of its own.
    """
    order = list(sorted_with_prefixes(rows))
    lengths = [len(rows[row]) for row, _ in order]
    best, cut = [0], [0]  # fewest tokens of the first j rows, and where their last micro-batch starts
    for end in range(1, len(order) + 1):
        tokens, choices = 0, []
        for start in range(end - 1, -1, -1):
            # The rows from start + 1 on keep what they share with their predecessor; that of row start is computed.
            tokens += lengths[start] - (order[start + 1][1] if start + 1 < end else 0)
            if tokens > max_tokens and start + 1 < end:
                break
            choices.append((best[start] + tokens, start))
        fewest, start = min(choices)
        best.append(fewest)
        cut.append(start)
    batches, end = [], len(order)
    while end:
        batches.append([row for row, _ in order[cut[end] : end]])
        end = cut[end]
    return batches[::-1]


def split_evenly(batches: list[list[int]], rows: Sequence[np.ndarray], n_batches: int) -> list[list[int]]:
    """``batches`` with the largest ones halved until there are ``n_batches`` of them, as other ranks may have more.

    ValueError where there are more batches already, or fewer rows than that.
    """
    if not len(batches) <= n_batches <= sum(map(len, batches)):
        raise ValueError(f"{sum(map(len, batches))} rows in {len(batches)} micro-batches cannot make {n_batches}")
    batches = list(batches)
    while len(batches) < n_batches:
        largest = max((b for b in batches if len(b) > 1), key=lambda batch: _size(batch, rows))
        place = batches.index(largest)
        halves = ([largest[:cut], largest[cut:]] for cut in range(1, len(largest)))
        batches[place : place + 1] = min(halves, key=lambda pair: max(_size(half, rows) for half in pair))
    return batches


def _size(batch: list[int], rows: Sequence[np.ndarray]) -> int:
    """Distinct tokens of a run of the sorted rows."""
    shared = sum(common_prefix(rows[before], rows[row]) for before, row in pairwise(batch))
    return sum(len(rows[row]) for row in batch) - shared
