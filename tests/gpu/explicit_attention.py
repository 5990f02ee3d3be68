"""Attention of sequences side by side, with its mask written out: what the kernels for GPUs are compared with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch

from openrlhf_marge.prefix_sharing import Forest, grow
from openrlhf_marge.prefix_sharing.attention import _varlen

TOLERANCE = 0.02  # norm of the difference per norm; half floats come to some thousandths, another mask to tenths
NAMES = ("output", "gradient of queries", "gradient of keys", "gradient of values")
# (tokens of the trunk, tokens of its own) of rows that branch off it: one query for many keys, blocks of 128 cut at
# their borders and elsewhere, more own tokens than shared ones.
TRUNK, BRANCHES = 700, ((699, 1), (128, 128), (127, 300), (1, 64), (350, 129))


def explicit(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    starts: torch.Tensor,
    key_starts: torch.Tensor,
    scale: float | None = None,
    aligned: str = "end",
) -> torch.Tensor:
    """Queries (Tq, H, D), keys and values (Tk, H_kv, D) -> (Tq, H, D), softmax of the inputs' own precision.

    The causal mask is ``aligned`` at the "end" of queries and keys of a sequence (bottom right), or at their "start".
    """
    groups = query.shape[1] // key.shape[1]
    key, value = (x.repeat_interleave(groups, dim=1) for x in (key, value))
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    pieces = []
    bounds = zip(pairwise(starts.tolist()), pairwise(key_starts.tolist()), strict=True)
    for (first, last), (first_key, last_key) in bounds:
        n, n_keys = last - first, last_key - first_key
        offset = n_keys - n if aligned == "end" else 0
        seen = torch.ones(n, n_keys, dtype=torch.bool, device=query.device).tril(offset)
        scores = torch.einsum("qhd,khd->hqk", query[first:last], key[first_key:last_key]) * scale
        weights = scores.masked_fill(~seen, float("-inf")).softmax(dim=-1)
        pieces.append(torch.einsum("hqk,khd->qhd", weights, value[first_key:last_key]))
    return torch.cat(pieces)


@dataclass(frozen=True)
class Distance:
    """Norm of the difference from the explicit mask, per norm of what the explicit mask gives."""

    name: str
    to_end: float
    to_start: float

    @property
    def is_aligned_at_the_end(self) -> bool:
        return self.to_end <= TOLERANCE and self.to_start > 5 * TOLERANCE


def varlen_distances(device: torch.device, dtype: torch.dtype, heads: int = 14, kv_heads: int = 2) -> list[Distance]:
    """How far the package's call of ``varlen_attn`` is from both masks in float32: its output and its gradients."""
    forest = branching(device)
    generator = torch.Generator().manual_seed(1)

    n, n_keys = len(forest.ids), len(forest.paths)
    shapes = ((1, heads, n, 64), (1, kv_heads, n_keys, 64), (1, kv_heads, n_keys, 64), (n, heads, 64))
    *tensors, weights = (torch.randn(shape, generator=generator).to(device, dtype) for shape in shapes)
    found = with_gradients(lambda q, k, v: _varlen(q, k, v, forest, None)[0], tensors, weights)
    both = [
        with_gradients(
            lambda q, k, v, aligned=aligned: explicit(
                *(x[0].transpose(0, 1) for x in (q, k, v)), *forest.starts, aligned=aligned
            ),
            [x.float() for x in tensors],
            weights.float(),
        )
        for aligned in ("end", "start")
    ]
    return [
        Distance(name, _relative(one, end), _relative(one, start))
        for name, one, end, start in zip(NAMES, found, *both, strict=True)
    ]


def branching(device: torch.device) -> Forest:
    """The forest of a trunk and of the rows that branch off it."""
    rows = [list(range(TRUNK))] + [
        [*range(shared), *range(1000 * n, 1000 * n + own)] for n, (shared, own) in enumerate(BRANCHES, start=1)
    ]
    width = max(map(len, rows))
    sequences = torch.tensor([row + [0] * (width - len(row)) for row in rows], device=device)
    lengths = torch.tensor([len(row) for row in rows], device=device)
    return grow(sequences, torch.arange(width, device=device) < lengths[:, None])


def with_gradients(
    attend: Callable[..., torch.Tensor], tensors: list[torch.Tensor], weights: torch.Tensor
) -> list[torch.Tensor]:
    """What ``attend`` gives for ``tensors``, and their gradients for the sum of the output times ``weights``."""
    leaves = [x.detach().clone().requires_grad_() for x in tensors]
    output = attend(*leaves)
    return [output.detach(), *torch.autograd.grad(output, leaves, weights.to(output.dtype))]


def _relative(one: torch.Tensor, other: torch.Tensor) -> float:
    return ((one.double() - other.double()).norm() / other.double().norm()).item()
