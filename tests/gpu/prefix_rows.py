"""The completions of one problem, whose rows share prefixes, and a model of random weights."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

import torch
from transformers import AutoModelForCausalLM, Qwen2Config


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

    def config(self, **more: Any) -> Qwen2Config:
        """For random weights so large that attention picks few tokens and a wrong path would show."""
        return Qwen2Config(
            hidden_size=self.hidden,
            num_hidden_layers=self.layers,
            num_attention_heads=self.heads,
            num_key_value_heads=self.kv_heads,
            intermediate_size=self.intermediate,
            vocab_size=self.vocabulary,
            tie_word_embeddings=True,
            initializer_range=1.5 * self.hidden**-0.5,  # scores of attention with a deviation of about 2
            **more,
        )

    def model(self, seed: int, device: torch.device) -> Any:
        """In bfloat16."""
        torch.manual_seed(seed)
        with device:
            return AutoModelForCausalLM.from_config(self.config(), dtype=torch.bfloat16).to(device).eval()


FULL = Size(896, 24, 14, 2, 4864, 151_936, prompt=200, response=600, completions=8)  # Qwen2-0.5B
WIDE = Size(3584, 6, 28, 4, 18_944, 152_064, prompt=200, response=600, completions=8)  # 6 of Qwen2.5-7B's 28 layers
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
