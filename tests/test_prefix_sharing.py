"""Distinct tokens computed once: the same log-probs, entropies and gradients as computing every row."""

from __future__ import annotations

import functools

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

from openrlhf_marge.prefix_sharing import action_log_probs, grow
from openrlhf_marge.prefix_sharing.attention import NAME

SIZES = dict(vocab_size=11, hidden_size=16, intermediate_size=24, num_hidden_layers=2, max_position_embeddings=128)
PAD = 0


def model_of(kind: str = "qwen2", dtype: torch.dtype = torch.float64, kv_heads: int = 2) -> torch.nn.Module:
    torch.manual_seed(3)
    classes = {"qwen2": (Qwen2Config, Qwen2ForCausalLM), "llama": (LlamaConfig, LlamaForCausalLM)}
    config, model = classes[kind]
    config = config(**SIZES, num_attention_heads=4, num_key_value_heads=kv_heads, initializer_range=0.5)
    model = model(config).to(dtype).eval()
    if dtype == torch.float64:  # transformers' own RMSNorm goes through float32
        for module in model.modules():
            if "RMSNorm" in type(module).__name__:
                module.forward = functools.partial(exact_norm, module)
    return model


def exact_norm(module: torch.nn.Module, x: torch.Tensor) -> torch.Tensor:
    return module.weight * x * (x.square().mean(-1, keepdim=True) + module.variance_epsilon).rsqrt()


def padded(rows: list[list[int]]) -> tuple[torch.Tensor, torch.Tensor]:
    width = max(map(len, rows))
    sequences = torch.tensor([row + [PAD] * (width - len(row)) for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows])
    return sequences, mask


def actions_after(starts: list[int], mask: torch.Tensor) -> torch.Tensor:
    """As OpenRLHF: (B, L - 1), column t for token t + 1; the first ``starts`` tokens are no actions."""
    places = torch.arange(1, mask.shape[1])
    return (places >= torch.tensor(starts)[:, None]) & mask[:, 1:].bool()


def every_row(model, sequences, mask, action_mask, temperature):
    """The reference: every row computed by the model's own attention, as OpenRLHF's Actor does."""
    logits = model(sequences, attention_mask=mask, position_ids=(mask.cumsum(-1) - 1).clamp(min=0)).logits
    logits = logits.float() if logits.dtype != torch.float64 else logits
    distribution = (logits / temperature).log_softmax(-1)
    log_probs = distribution[:, :-1].gather(-1, sequences[:, 1:, None])[..., 0]
    entropy = -(distribution.exp() * distribution).sum(-1)[:, :-1]
    width = action_mask.shape[1]
    return log_probs[:, -width:] * action_mask, entropy[:, -width:] * action_mask


def both(model, sequences, mask, action_mask, temperature=0.7):
    """(log-probs, entropy, gradients) of the reference and of the forest, for a loss that weights every action."""
    weights = torch.rand(action_mask.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    results = []
    for shared in (False, True):
        model.zero_grad()
        if shared:
            model.set_attn_implementation(NAME)
            forest = grow(sequences, mask)
            log_probs, entropy, _ = action_log_probs(model, forest, sequences, action_mask, temperature, True)
        else:
            model.set_attn_implementation("sdpa")
            log_probs, entropy = every_row(model, sequences, mask, action_mask, temperature)
        ((log_probs * weights).sum() + 0.3 * (entropy * weights).sum()).backward()
        gradient = torch.cat([p.grad.flatten() for p in model.parameters()])
        results.append((log_probs.detach(), entropy.detach(), gradient))
    return results


@st.composite
def forests(draw):
    """Rows that branch off earlier rows anywhere: duplicates, prefixes of others, roots of their own."""
    rows = [draw(st.lists(st.integers(1, 10), min_size=1, max_size=12))]
    for _ in range(draw(st.integers(0, 7))):
        trunk = draw(st.sampled_from(rows))
        rows.append(trunk[: draw(st.integers(0, len(trunk)))] + draw(st.lists(st.integers(1, 10), max_size=8)) or [1])
    return draw(st.permutations(rows))


@given(forests(), st.data())
@settings(max_examples=60, deadline=None)
def test_log_probs_entropy_and_gradients_are_those_of_every_row(rows, data):
    sequences, mask = padded(rows)
    starts = [data.draw(st.integers(0, len(row))) for row in rows]
    action_mask = actions_after(starts, mask)
    if not action_mask.shape[1]:
        return
    stock, shared = both(model_of(), sequences, mask, action_mask)
    for one, other in zip(stock, shared, strict=True):
        torch.testing.assert_close(other, one, rtol=1e-8, atol=1e-8)


@given(forests())
@settings(max_examples=200, deadline=None)
def test_every_distinct_prefix_is_one_place(rows):
    sequences, mask = padded(rows)
    forest = grow(sequences, mask)
    prefixes = {tuple(row[: n + 1]) for row in rows for n in range(len(row))}
    assert len(forest.ids) == len(prefixes) == sum(forest.own_lengths)
    assert forest.n_tokens == sum(map(len, rows))
    for index, row in enumerate(rows):
        path = forest.where[index, : len(row)]
        assert forest.ids[path].tolist() == row
        assert forest.depths[path].tolist() == list(range(len(row)))
    assert [len(p) for p in forest.paths.split(forest.path_lengths)] == list(forest.path_lengths)


def test_forest_of_a_nested_chain():
    rows = [[1, 2, 3, 4, 5], [1, 2, 9], [1, 2, 3, 7], [1, 2, 9]]
    forest = grow(*padded(rows))
    assert forest.ids.tolist() == [1, 2, 3, 4, 5, 7, 9]
    assert forest.depths.tolist() == [0, 1, 2, 3, 4, 3, 2]
    assert forest.where.tolist() == [[0, 1, 2, 3, 4], [0, 1, 6, 0, 0], [0, 1, 2, 5, 0], [0, 1, 6, 0, 0]]
    assert (forest.own_lengths, forest.path_lengths) == ((5, 1, 1), (5, 4, 3))
    assert forest.ratio == 15 / 7
