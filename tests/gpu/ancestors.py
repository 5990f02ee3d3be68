"""A forest by FlexAttention: every token sees itself and its ancestors, in one line of tokens."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch.nn import functional
from torch.nn.attention.flex_attention import BlockMask, create_block_mask, flex_attention

from openrlhf_marge.prefix_sharing import Forest

NAME = "ancestors_by_flex"  # in transformers' registry of attention functions
BLOCK = 128  # the compiled backward wants whole blocks


def ends(forest: Forest) -> torch.Tensor:
    """(T,) int64: a token's descendants lie from the place after it up to here, as rows are sorted (an Euler tour)."""
    depths, total = forest.depths.cpu(), len(forest.ids)
    found = torch.full((total,), total)
    starts = torch.tensor(forest.own_lengths).cumsum(dim=0)[:-1].tolist()
    for start in starts:  # what is as deep as the first token of a row, or deeper, ends there
        found[:start][(found[:start] == total) & (depths[:start] >= depths[start])] = start
    return found.to(forest.ids.device)


def ancestors_of(forest: Forest) -> tuple[Forest, BlockMask]:
    """The forest with tokens for the last block that see themselves alone, and its mask."""
    n_more = -len(forest.ids) % BLOCK
    end = ends(forest)
    end = torch.cat([end, torch.arange(len(end), len(end) + n_more, device=end.device) + 1])
    padded = replace(
        forest, ids=functional.pad(forest.ids, (0, n_more)), depths=functional.pad(forest.depths, (0, n_more))
    )

    def sees(batch: torch.Tensor, head: torch.Tensor, query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
        return (key <= query) & (query < end[key])

    return padded, create_block_mask(sees, None, None, len(end), len(end), device=end.device, BLOCK_SIZE=BLOCK)


def attend_to_ancestors(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    block_mask: BlockMask | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """Queries (1, H, T, D), keys and values (1, H_kv, T, D) -> (1, T, H, D), for transformers' registry."""
    attend = _compiled() if query.is_cuda else flex_attention
    shared_heads = query.shape[1] != key.shape[1]
    attended = attend(query, key, value, block_mask=block_mask, scale=scaling, enable_gqa=shared_heads)
    return attended.transpose(1, 2), None


@functools.cache
def _compiled() -> Callable[..., torch.Tensor]:
    """One kernel for all lengths; a recompilation for each would take longer than the rest of the script."""
    return torch.compile(flex_attention, dynamic=True)
