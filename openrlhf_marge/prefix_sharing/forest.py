"""Padded rows of tokens -> the forest of their distinct prefixes, from the token ids alone."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from openrlhf_marge.prefix_sharing.order import sorted_with_prefixes


@dataclass(frozen=True)
class Forest:
    """T distinct tokens of B rows. A token is distinct when no other row has the same tokens up to it.

    Rows are sorted; each owns the tokens that the row before it does not share. ``T`` tokens lie in a line, the own
    tokens of a row side by side. A row's path is all of its tokens, from the root on.
    """

    ids: torch.Tensor  # (T,) int64
    depths: torch.Tensor  # (T,) int64, position of the token in its rows
    where: torch.Tensor  # (B, L) int64, place in 0..T-1 of the row's token; 0 in the padding
    paths: torch.Tensor  # (P,) int64, the paths of all rows with tokens of their own, one after the other
    own_lengths: tuple[int, ...]  # own tokens of these rows, whose sum is T
    path_lengths: tuple[int, ...]  # the lengths of their paths, whose sum is P
    n_tokens: int  # of all rows, without padding

    @property
    def ratio(self) -> float:
        """Tokens of all rows for each distinct one; at least 1."""
        return self.n_tokens / len(self.ids)

    @cached_property
    def masks(self) -> tuple[torch.Tensor | None, ...]:
        """Causal masks (own, path) of the rows, True where a query may look; None for a row that shares nothing."""
        return tuple(
            None if own == path else torch.ones(own, path, dtype=torch.bool, device=self.ids.device).tril(path - own)
            for own, path in zip(self.own_lengths, self.path_lengths, strict=True)
        )

    @cached_property
    def starts(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Where own tokens and paths start, and in the end their number: two int32 tensors (rows + 1,)."""
        return self._starts(self.own_lengths), self._starts(self.path_lengths)

    def _starts(self, lengths: tuple[int, ...]) -> torch.Tensor:
        return torch.tensor(np.cumsum((0, *lengths)), dtype=torch.int32, device=self.ids.device)


def grow(sequences: torch.Tensor, attention_mask: torch.Tensor) -> Forest:
    """The forest of ``sequences`` (B, L), whose tokens ``attention_mask`` (B, L) marks.

    ValueError where a row is empty or padded on its left: common prefixes would not lie at the same positions.
    """
    ids = sequences.cpu().numpy()
    mask = attention_mask.cpu().numpy().astype(bool)
    lengths = mask.sum(axis=1)
    if not lengths.all() or (mask != (np.arange(mask.shape[1]) < lengths[:, None])).any():
        raise ValueError("a row is empty or padded on its left; common prefixes are found in rows padded on the right")
    rows = [row[:n] for row, n in zip(ids, lengths, strict=True)]
    where = np.zeros(ids.shape, dtype=np.int64)
    kept, total, previous = [], 0, 0
    for row, shared in sorted_with_prefixes(rows):
        n = lengths[row]
        where[row, :shared] = where[previous, :shared]
        where[row, shared:n] = np.arange(total, total + n - shared)
        total, previous = total + n - shared, row
        if n > shared:
            kept.append((row, shared))
    device = sequences.device
    own = [rows[row][shared:] for row, shared in kept]
    depths = [np.arange(shared, lengths[row]) for row, shared in kept]
    paths = [where[row, : lengths[row]] for row, _ in kept]
    return Forest(
        ids=torch.from_numpy(np.concatenate(own)).to(device),
        depths=torch.from_numpy(np.concatenate(depths)).to(device),
        where=torch.from_numpy(where).to(device),
        paths=torch.from_numpy(np.concatenate(paths)).to(device),
        own_lengths=tuple(map(len, own)),
        path_lengths=tuple(map(len, paths)),
        n_tokens=int(lengths.sum()),
    )
