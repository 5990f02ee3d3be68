"""Attention of a forest's distinct tokens, each to its own path, as a function of transformers' attention registry."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch.nn import functional
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from openrlhf_marge.prefix_sharing.forest import Forest

NAME = "shared_prefix"  # in the registry; it has no mask function there, since it makes its own
UNSERVED = ("sliding_window", "softcap", "s_aux")  # what a layer may ask of its attention and does not get here
FLASH_TYPES = (torch.bfloat16, torch.float16)  # the kernel has no others


def attend(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    forest: Forest | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """Queries (1, H, T, D), keys and values (1, H_kv, T, D) of the distinct tokens -> (1, T, H, D).

    ValueError where the layer asks for what would be left out without a word.
    """
    asked = [name for name in UNSERVED if kwargs.get(name) is not None] + ["dropout"] * bool(dropout)
    if forest is None or asked:
        raise ValueError(
            f"{type(module).__name__} asks its attention for {', '.join(asked) or 'rows without a forest'}, which "
            "shared prefixes do not serve; leave --marge.share_prefix out"
        )
    keys, values = Gather.apply(key, forest.paths), Gather.apply(value, forest.paths)
    serve = _varlen if query.is_cuda and query.dtype in FLASH_TYPES else _row_by_row
    return serve(query, keys, values, forest, scaling), None


class Gather(torch.autograd.Function):
    """(1, H, T, D) -> (1, H, P, D) by places (P,); what flows back into one token is summed in float32 at least.

    The sum of hundreds of bfloat16 gradients would otherwise round at each addition.
    """

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(places)
        ctx.n_tokens = x.shape[2]
        return x.index_select(2, places)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        (places,) = ctx.saved_tensors
        dtype = torch.promote_types(gradient.dtype, torch.float32)
        shape = (*gradient.shape[:2], ctx.n_tokens, gradient.shape[3])
        total = torch.zeros(shape, dtype=dtype, device=gradient.device)
        return total.index_add_(2, places, gradient.to(dtype)).to(gradient.dtype), None


def _row_by_row(
    query: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, forest: Forest, scaling: float | None
) -> torch.Tensor:
    """One call of scaled_dot_product_attention for each row with tokens of its own, as on CPUs nothing is faster."""
    keys, values = _for_every_head(query, keys, values)
    pieces = zip(
        query.split(forest.own_lengths, dim=2),
        keys.split(forest.path_lengths, dim=2),
        values.split(forest.path_lengths, dim=2),
        forest.masks,
        strict=True,
    )
    attended = [
        functional.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=mask is None, scale=scaling)
        for q, k, v, mask in pieces
    ]
    return torch.cat(attended, dim=2).transpose(1, 2)


def _varlen(
    query: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, forest: Forest, scaling: float | None
) -> torch.Tensor:
    """One call of PyTorch's FlashAttention for sequences of any length, whose causal mask is aligned at the end.

    That it is aligned there, ``tests/gpu/prefix.py`` asserts on a GPU.
    """
    from torch.nn.attention.varlen import varlen_attn

    options = {}
    if "enable_gqa" in inspect.signature(varlen_attn).parameters:  # since torch 2.12; until then it served equal heads
        options["enable_gqa"] = True
    else:
        keys, values = _for_every_head(query, keys, values)
    starts, path_starts = forest.starts
    attended = varlen_attn(
        *(x[0].transpose(0, 1) for x in (query, keys, values)),
        starts,
        path_starts,
        max(forest.own_lengths),
        max(forest.path_lengths),
        scale=scaling,
        window_size=(-1, 0),
        **options,
    )
    return attended[None]


def _for_every_head(query: torch.Tensor, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Keys or values (1, H_kv, P, D) -> (1, H, P, D), each head as often as queries share it."""
    groups = query.shape[1] // tensors[0].shape[1]
    return tensors if groups == 1 else tuple(x.repeat_interleave(groups, dim=1) for x in tensors)


ALL_ATTENTION_FUNCTIONS.register(NAME, attend)
