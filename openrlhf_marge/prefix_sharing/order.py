"""Rows of token ids in the order in which common prefixes lie side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np


def sorted_with_prefixes(rows: Sequence[np.ndarray]) -> Iterator[tuple[int, int]]:
    """Indices of the rows in lexicographic order, each with the tokens that it shares with the one before it.

    No other earlier row shares more with it, so the rest of its tokens are new to all earlier rows.
    """
    tokens = [row.tolist() for row in rows]
    previous = None
    for index in sorted(range(len(rows)), key=tokens.__getitem__):
        row = rows[index]
        yield index, 0 if previous is None else common_prefix(previous, row)
        previous = row


def common_prefix(one: np.ndarray, other: np.ndarray) -> int:
    """Number of tokens that both rows begin with."""
    n = min(len(one), len(other))
    different = one[:n] != other[:n]
    return int(different.argmax()) if different.any() else n
