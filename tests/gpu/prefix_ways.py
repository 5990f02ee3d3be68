"""Rows that share prefixes, a model of random weights, and the ways to compute its log-probs of their actions."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from transformers import AutoModelForCausalLM, Qwen2Config
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.utils import is_flash_attn_2_available

from openrlhf_marge.prefix_sharing import Forest, action_log_probs, grow, whole_trees
from openrlhf_marge.prefix_sharing.attention import NAME

from ancestors import NAME as FLEX
from ancestors import ancestors_of, attend_to_ancestors

ALL_ATTENTION_FUNCTIONS.register(FLEX, attend_to_ancestors)


@dataclass(frozen=True)
class Size:
    """A model's shape and the tokens of one problem."""

    hidden: int
    layers: int
    heads: int
    kv_heads: int
    intermediate: int
    vocabulary: int
    prompt: int
    response: int
    completions: int  # of a state

    def model(self, seed: int, device: torch.device) -> Any:
        """In bfloat16, with random weights so large that attention picks few tokens and a wrong path would show."""
        torch.manual_seed(seed)
        config = Qwen2Config(
            hidden_size=self.hidden,
            num_hidden_layers=self.layers,
            num_attention_heads=self.heads,
            num_key_value_heads=self.kv_heads,
            intermediate_size=self.intermediate,
            vocab_size=self.vocabulary,
            tie_word_embeddings=True,
            initializer_range=1.5 * self.hidden**-0.5,  # scores of attention with a deviation of about 2
        )
        with device:
            return AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16).to(device).eval()


FULL = Size(896, 24, 14, 2, 4864, 151_936, prompt=200, response=600, completions=8)  # Qwen2-0.5B
QUICK = Size(256, 2, 4, 2, 512, 1000, prompt=20, response=60, completions=4)


@dataclass(frozen=True)
class Rows:
    """B rows of tokens, padded on the right to L tokens."""

    sequences: torch.Tensor  # (B, L) int64
    mask: torch.Tensor  # (B, L) int64, 1 for tokens
    actions: torch.Tensor  # (B, L - 1) bool, column t for token t + 1
    weights: torch.Tensor  # (B, L - 1) float32, of the actions' log-probs in the loss; 0 elsewhere

    def pick(self, indices: list[int]) -> Rows:
        """These rows, no wider than the longest of them."""
        width = int(self.mask[indices].sum(dim=1).max())
        return Rows(
            self.sequences[indices, :width],
            self.mask[indices, :width],
            self.actions[indices, : width - 1],
            self.weights[indices, : width - 1],
        )


def make_rows(size: Size, n_states: int, seed: int, device: torch.device) -> Rows:
    """Completions of one problem: ``size.completions`` from each of ``n_states`` evenly spaced states of a guidance.

    Completions are 0.9 to 1.1 times as long as the rest of the guidance. Rows of one state have one sign of the loss
    or the other at random, as advantages have.
    """
    rng = random.Random(seed)

    def tokens(n: int) -> list[int]:
        return [rng.randrange(1, size.vocabulary) for _ in range(n)]

    prompt, guidance = tokens(size.prompt), tokens(size.response)
    rows, starts = [], []
    for state in range(n_states):
        prefix = prompt + guidance[: size.response * state // n_states]
        for _ in range(size.completions):
            n = max(1, round((size.prompt + size.response - len(prefix)) * rng.uniform(0.9, 1.1)))
            rows.append(prefix + tokens(n))
            starts.append(len(prefix))
    width = max(map(len, rows))
    places = torch.arange(width)
    mask = places < torch.tensor([[len(row)] for row in rows])
    actions = (mask & (places >= torch.tensor(starts)[:, None]))[:, 1:]
    advantages = torch.tensor([[rng.choice((-1.0, 1.0))] for _ in rows])
    sequences = torch.tensor([row + [0] * (width - len(row)) for row in rows])
    weights = actions * advantages / actions.sum()
    return Rows(*(x.to(device) for x in (sequences, mask.long(), actions, weights)))


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
    return _forest_log_probs(model, grow(rows.sequences, rows.mask), rows)


def packed(model: Any, rows: Rows) -> tuple[torch.Tensor, int]:
    """Rows side by side that share nothing, otherwise as ``shared``: the difference is what sharing alone brings."""
    return _forest_log_probs(model, side_by_side(rows), rows)


def shared_by_flex(model: Any, rows: Rows) -> tuple[torch.Tensor, int]:
    """As ``shared``, by FlexAttention."""
    forest = grow(rows.sequences, rows.mask)
    padded, mask = ancestors_of(forest)
    log_probs, _ = _forest_log_probs(model, padded, rows, block_mask=mask)
    return log_probs, len(forest.ids)


def _forest_log_probs(model: Any, forest: Forest, rows: Rows, **options: Any) -> tuple[torch.Tensor, int]:
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
    return [list(range(n))[start : start + n_rows] for start in range(0, n, n_rows)]
