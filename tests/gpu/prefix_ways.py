"""The ways to compute a model's log-probs of actions in rows that share prefixes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.utils import is_flash_attn_2_available

from openrlhf_marge.prefix_sharing import Forest, action_log_probs, grow, whole_trees
from openrlhf_marge.prefix_sharing.attention import NAME

from ancestors import NAME as FLEX
from ancestors import ancestors_of, attend_to_ancestors
from prefix_rows import Rows

ALL_ATTENTION_FUNCTIONS.register(FLEX, attend_to_ancestors)


@dataclass(frozen=True)
class Way:
    """How log-probs are computed: ``forward(model, rows)`` -> (log-probs (B, L - 1), tokens that went through it)."""

    name: str
    attention: str  # its name in transformers' registry
    forward: Callable[[Any, Rows], tuple[torch.Tensor, int]]
    batches: list[list[int]]  # micro-batches, as indices of rows
    is_only_compared: bool = False  # no part of the package: the others do without it where it fails


def every_row(model: Any, rows: Rows) -> tuple[torch.Tensor, int]:
    """Padded rows with logits at all places, as OpenRLHF's Actor does without the package flash-attn."""
    positions = (rows.mask.cumsum(dim=-1) - 1).masked_fill(rows.mask == 0, 1)
    logits = model(rows.sequences, attention_mask=rows.mask, position_ids=positions, use_cache=False).logits.float()
    labels = rows.sequences.roll(-1, dims=1)[..., None]
    log_probs = logits.gather(-1, labels)[..., 0] - logits.logsumexp(dim=-1)
    return log_probs[:, :-1] * rows.actions, rows.sequences.numel()


def shared(model: Any, rows: Rows) -> tuple[torch.Tensor, int]:
    """Distinct tokens once, by the package."""
    return forest_log_probs(model, grow(rows.sequences, rows.mask), rows)


def packed(model: Any, rows: Rows) -> tuple[torch.Tensor, int]:
    """Rows side by side that share nothing, otherwise as ``shared``: the difference is what sharing alone brings."""
    return forest_log_probs(model, side_by_side(rows), rows)


def shared_by_flex(model: Any, rows: Rows) -> tuple[torch.Tensor, int]:
    """As ``shared``, by FlexAttention."""
    forest = grow(rows.sequences, rows.mask)
    padded, mask = ancestors_of(forest)
    log_probs, _ = forest_log_probs(model, padded, rows, block_mask=mask)
    return log_probs, len(forest.ids)


def forest_log_probs(model: Any, forest: Forest, rows: Rows, **options: Any) -> tuple[torch.Tensor, int]:
    """What ``shared``, ``packed`` and ``shared_by_flex`` do with the forest that each of them has made."""
    found = action_log_probs(model, forest, rows.sequences, rows.actions, **options)
    return found.log_probs, len(forest.ids)


def side_by_side(rows: Rows) -> Forest:
    """A forest in which every row owns all of its tokens."""
    lengths = rows.mask.sum(dim=1)
    first = (lengths.cumsum(dim=0) - lengths)[:, None]
    positions = torch.arange(rows.mask.shape[1], device=rows.mask.device).expand_as(rows.mask)
    is_token = rows.mask.bool()
    n_tokens = int(lengths.sum())
    return Forest(
        ids=rows.sequences[is_token],
        depths=positions[is_token],
        where=(first + positions) * rows.mask,
        paths=torch.arange(n_tokens, device=rows.mask.device),
        own_lengths=tuple(lengths.tolist()),
        path_lengths=tuple(lengths.tolist()),
        n_tokens=n_tokens,
    )


def reference(rows: Rows, n_rows: int) -> Way:
    """What all ways are compared with: stock by explicit attention, for a model in float32."""
    return Way("stock, float32", "eager", every_row, in_order(len(rows.sequences), max(1, n_rows // 4)))


def ways(rows: Rows, n_rows: int) -> list[Way]:
    """Stock first; the last ones have micro-batches of up to as many tokens as ``n_rows`` padded rows have."""
    n, width = rows.sequences.shape
    same = in_order(n, n_rows)
    lengths = rows.mask.sum(dim=1).tolist()
    tokens = [row[:length] for row, length in zip(rows.sequences.cpu().numpy(), lengths, strict=True)]
    filled = whole_trees(tokens, n_rows * width)
    flash = [Way("stock padded, flash_attention_2", "flash_attention_2", every_row, same, True)]
    return [
        Way("stock padded, sdpa", "sdpa", every_row, same),
        *(flash if is_flash_attn_2_available() and rows.sequences.is_cuda else []),
        Way("packed, nothing shared", NAME, packed, same),
        Way("forest, the same rows", NAME, shared, same),
        Way("forest, the same tokens", NAME, shared, filled),
        Way("forest, the same tokens, FlexAttention", FLEX, shared_by_flex, filled, True),
    ]


def in_order(n: int, n_rows: int) -> list[list[int]]:
    """0 to ``n`` - 1, ``n_rows`` at a time."""
    return [list(range(n))[start : start + n_rows] for start in range(0, n, n_rows)]
