"""Distinct tokens computed once: the same log-probs, entropies and gradients as computing every row."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

from openrlhf_marge.prefix_sharing import action_log_probs, grow, split_evenly, whole_trees
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


def test_a_row_padded_on_its_left_is_refused():
    with pytest.raises(ValueError, match="a row is empty or padded on its left"):
        grow(torch.tensor([[0, 1, 2]]), torch.tensor([[0, 1, 1]]))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_it_is_no_farther_from_exact_numbers_than_every_row_is(dtype):
    """Sums of gradients over many rows are where a shared token could round more often."""
    generator = torch.Generator().manual_seed(1)
    trunk = torch.randint(1, 11, (40,), generator=generator).tolist()
    rows = [trunk[: 8 * (n % 5)] + torch.randint(1, 11, (20,), generator=generator).tolist() for n in range(40)]
    sequences, mask = padded(rows)
    action_mask = actions_after([8 * (n % 5) for n in range(40)], mask)
    exact, _ = both(model_of(), sequences, mask, action_mask)
    stock, shared = both(model_of(dtype=dtype), sequences, mask, action_mask)
    for name, true, one, other in zip(("log-probs", "entropy", "gradient"), exact, stock, shared, strict=True):
        assert (other - true).norm() < 1.2 * (one - true).norm(), name


@pytest.mark.parametrize("kv_heads", [1, 2, 4])
def test_grouped_queries_and_another_family(kv_heads):
    rows = [[1, 2, 3, 4], [1, 2, 5, 6, 7], [1, 2, 5, 8], [9, 9]]
    sequences, mask = padded(rows)
    stock, shared = both(model_of("llama", kv_heads=kv_heads), sequences, mask, actions_after([1, 2, 3, 0], mask))
    for one, other in zip(stock, shared, strict=True):
        torch.testing.assert_close(other, one, rtol=1e-8, atol=1e-8)


def test_what_a_layer_asks_of_its_attention_and_would_not_get_is_an_error():
    model = model_of()
    model.set_attn_implementation(NAME)
    sequences, mask = padded([[1, 2, 3], [1, 2, 4]])
    with pytest.raises(ValueError, match="Qwen2Attention asks its attention for rows without a forest"):
        model(sequences, attention_mask=mask)
    for layer in model.model.layers:
        layer.self_attn.sliding_window = 2
    with pytest.raises(ValueError, match="Qwen2Attention asks its attention for sliding_window, which shared"):
        action_log_probs(model, grow(sequences, mask), sequences, mask[:, 1:])


@given(forests(), st.integers(5, 40))
@settings(max_examples=150, deadline=None)
def test_micro_batches_have_all_rows_and_the_fewest_tokens(rows, most):
    arrays = [np.array(row) for row in rows]
    batches = whole_trees(arrays, most)
    assert sorted(index for batch in batches for index in batch) == list(range(len(rows)))
    sizes = [distinct([rows[index] for index in batch]) for batch in batches]
    assert all(size <= most or len(batch) == 1 for size, batch in zip(sizes, batches, strict=True))
    assert sum(sizes) == fewest(sorted(rows), most)
    for wanted in range(len(batches), len(rows) + 1):
        more = split_evenly(batches, arrays, wanted)
        assert len(more) == wanted and all(more)
        assert sorted(index for batch in more for index in batch) == list(range(len(rows)))


def distinct(rows: list[list[int]]) -> int:
    return len({tuple(row[: n + 1]) for row in rows for n in range(len(row))})


def fewest(rows: list[list[int]], most: int) -> int:
    """Distinct tokens of the best cut of sorted rows, by trying all."""
    if not rows:
        return 0
    ends = [n for n in range(1, len(rows) + 1) if n == 1 or distinct(rows[:n]) <= most]
    return min(distinct(rows[:n]) + fewest(rows[n:], most) for n in ends)


def test_groups_are_cut_last():
    """Two problems, two states each: 12 tokens hold one problem, 9 hold one state, 4 hold one row."""
    rows = [[1, 1, 5], [2, 2, 5], [1, 1, 6], [2, 2, 6], [1, 1, 3, 4, 5], [2, 2, 3, 4, 5], [1, 1, 3, 4, 6]]
    arrays = [np.array(row) for row in rows]
    assert whole_trees(arrays, 12) == [[4, 6, 0, 2], [5, 1, 3]]
    assert whole_trees(arrays, 6) == [[4, 6], [0, 2], [5], [1, 3]]
    assert split_evenly([[4, 6, 0, 2], [5, 1, 3]], arrays, 3) == [[4, 6], [0, 2], [5, 1, 3]]
    with pytest.raises(ValueError, match="7 rows in 2 micro-batches cannot make 8"):
        split_evenly([[4, 6, 0, 2], [5, 1, 3]], arrays, 8)
