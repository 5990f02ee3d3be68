"""tests/gpu: what its scripts do before and beside a GPU, on a CPU."""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.attention import varlen

from openrlhf_marge.prefix_sharing import Forest, grow
from openrlhf_marge.prefix_sharing.attention import _row_by_row, _varlen

import prefix
from ancestors import ancestors_of, attend_to_ancestors, ends
from explicit_attention import branching, explicit, varlen_distances, with_gradients
from prefix_measure import assertions, line_of, measure
from prefix_rows import Size, make_rows
from prefix_ways import Way, forest_log_probs, in_order, reference, side_by_side, ways

CPU = torch.device("cpu")
TINY = Size(64, 2, 4, 2, 64, 50, prompt=6, response=20, completions=3)


def varlen_2_13(query, key, value, cu_seq_q, cu_seq_k, max_q, max_k, *, scale, window_size, enable_gqa=False):
    """Takes the place of the kernel, with what it has been given since torch 2.12."""
    assert window_size == (-1, 0) and enable_gqa
    return kernel(query, key, value, cu_seq_q, cu_seq_k, max_q, max_k, scale, "end")


def varlen_2_11(query, key, value, cu_seq_q, cu_seq_k, max_q, max_k, *, scale, window_size):
    """As torch 2.11 has it: queries and keys have equal heads."""
    assert window_size == (-1, 0) and query.shape[1] == key.shape[1] == value.shape[1]
    return kernel(query, key, value, cu_seq_q, cu_seq_k, max_q, max_k, scale, "end")


def varlen_aligned_at_the_start(query, key, value, cu_seq_q, cu_seq_k, max_q, max_k, *, scale, window_size):
    return kernel(query, key, value, cu_seq_q, cu_seq_k, max_q, max_k, scale, "start")


def kernel(query, key, value, cu_seq_q, cu_seq_k, max_q, max_k, scale, aligned):
    for tensor, starts, longest in ((query, cu_seq_q, max_q), (key, cu_seq_k, max_k)):
        assert starts.dtype == torch.int32 and starts[0] == 0 and starts[-1] == len(tensor)
        assert starts.diff().max() == longest
    exact = (x.to(torch.promote_types(x.dtype, torch.float32)) for x in (query, key, value))
    return explicit(*exact, cu_seq_q, cu_seq_k, scale, aligned).to(query.dtype)


@st.composite
def forests(draw) -> Forest:
    """Rows that branch off earlier rows anywhere."""
    rows = [draw(st.lists(st.integers(1, 5), min_size=1, max_size=9))]
    for _ in range(draw(st.integers(0, 6))):
        trunk = draw(st.sampled_from(rows))
        rows.append(trunk[: draw(st.integers(0, len(trunk)))] + draw(st.lists(st.integers(1, 5), max_size=6)) or [1])
    width = max(map(len, rows))
    mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows])
    return grow(torch.tensor([row + [0] * (width - len(row)) for row in rows]), mask)


def drawn(forest: Forest, n_keys: int, seed: int = 0) -> list[torch.Tensor]:
    """Queries (1, 4, T, 8), keys and values (1, 2, n_keys, 8), in float64."""
    generator = torch.Generator().manual_seed(seed)
    shapes = ((1, 4, len(forest.ids), 8), (1, 2, n_keys, 8), (1, 2, n_keys, 8))
    return [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]


@pytest.mark.parametrize("stand_in", [varlen_2_13, varlen_2_11])
@given(forest=forests(), scaling=st.sampled_from([None, 0.3]))
@settings(max_examples=20, deadline=None)
def test_varlen_is_what_row_by_row_is(stand_in, forest, scaling):
    tensors = drawn(forest, len(forest.paths))
    weights = torch.randn(1, len(forest.ids), 4, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    expected = with_gradients(lambda q, k, v: _row_by_row(q, k, v, forest, scaling), tensors, weights)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(varlen, "varlen_attn", stand_in)
        found = with_gradients(lambda q, k, v: _varlen(q, k, v, forest, scaling), tensors, weights)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)


def test_the_kernel_here_takes_what_it_is_given():
    wanted = inspect.signature(varlen_2_13 if hasattr(varlen, "varlen_attn_out") else varlen_2_11).parameters
    there = inspect.signature(varlen.varlen_attn).parameters
    assert [(name, there[name].kind) for name in wanted] == [(p.name, p.kind) for p in wanted.values()]


@pytest.mark.parametrize("stand_in", [varlen_2_13, varlen_2_11, varlen_aligned_at_the_start])
def test_the_first_assertion_tells_where_a_mask_is_aligned(monkeypatch, stand_in):
    monkeypatch.setattr(varlen, "varlen_attn", stand_in)
    found = varlen_distances(CPU, torch.bfloat16, heads=4)
    assert len(found) == 4
    assert [d.is_aligned_at_the_end for d in found] == [stand_in is not varlen_aligned_at_the_start] * 4


def test_the_rows_of_the_first_assertion_have_fewer_queries_than_keys():
    forest = branching(CPU)
    assert (forest.own_lengths, forest.path_lengths) == ((700, 1, 129, 128, 300, 64), (700, 700, 479, 256, 427, 65))


@given(forests())
@settings(max_examples=60, deadline=None)
def test_a_token_sees_its_ancestors(forest):
    dense = torch.zeros(len(forest.ids), len(forest.ids), dtype=torch.bool)
    own = iter(range(len(forest.ids)))
    for path, n_own in zip(forest.paths.split(forest.path_lengths), forest.own_lengths, strict=True):
        for place in range(len(path) - n_own, len(path)):
            dense[next(own), path[: place + 1]] = True
    places, end = torch.arange(len(forest.ids)), ends(forest)
    assert torch.equal((places <= places[:, None]) & (places[:, None] < end), dense)


@given(forests())
@settings(max_examples=10, deadline=None)
@pytest.mark.filterwarnings("ignore:flex_attention called without")
def test_flex_attention_is_what_row_by_row_is(forest):
    query, key, value = drawn(forest, len(forest.ids))
    padded, mask = ancestors_of(forest)
    n_more = len(padded.ids) - len(forest.ids)
    assert len(padded.ids) % 128 == 0 and mask.shape[-2:] == (len(padded.ids), len(padded.ids))
    tensors = [torch.nn.functional.pad(x, (0, 0, 0, n_more)) for x in (query, key, value)]
    found, _ = attend_to_ancestors(torch.nn.Module(), *tensors, None, scaling=0.3, block_mask=mask)
    keys, values = (x.index_select(2, forest.paths) for x in (key, value))
    torch.testing.assert_close(found[:, : len(forest.ids)], _row_by_row(query, keys, values, forest, 0.3))


def test_rows_side_by_side_share_nothing():
    rows = make_rows(TINY, 3, 0, CPU)
    forest = side_by_side(rows)
    assert forest.ratio == 1
    for index, length in enumerate(rows.mask.sum(dim=1).tolist()):
        place = forest.where[index, :length]
        assert torch.equal(forest.ids[place], rows.sequences[index, :length])
        assert torch.equal(forest.depths[place], torch.arange(length))


def test_micro_batches_hold_every_row_once():
    rows = make_rows(TINY, 3, 0, CPU)
    for way in [*ways(rows, 4), reference(rows, 4)]:
        assert sorted(index for batch in way.batches for index in batch) == list(range(9))
    assert in_order(5, 2) == [[0, 1], [2, 3], [4]]


def test_a_wrong_path_is_farther_from_float32_than_rounding():
    def one_token_off(model, rows):
        forest = grow(rows.sequences, rows.mask)
        paths = forest.paths.clone()
        second = forest.path_lengths[0]
        paths[second] = paths[second + 1]  # the first token of a prompt, for one row
        return forest_log_probs(model, replace(forest, paths=paths), rows)

    rows, model = make_rows(TINY, 2, 0, CPU), TINY.model(0, CPU)
    stock, ours = (way for way in ways(rows, 6) if way.name in ("stock padded, sdpa", "forest, the same rows"))
    wrong = Way("wrong", ours.attention, one_token_off, ours.batches)
    found = [measure(model, way, rows, 0) for way in (stock, ours, wrong)]
    truth = measure(TINY.model(0, CPU).float(), reference(rows, 6), rows, 0)
    names = ("stock", "ours", "wrong")
    held = assertions([line_of(name, one, found[0], truth, rows) for name, one in zip(names, found, strict=True)])
    assert {sentence.split(":")[0]: holds for sentence, holds in held.items()} == {"ours": True, "wrong": False}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:flex_attention called without")
def test_the_whole_script_on_a_cpu(monkeypatch, capsys, tmp_path):
    out = tmp_path / "prefix.json"
    for name, value in {"DEVICE": CPU, "QUICK": TINY, "why_skipped": lambda: None}.items():
        monkeypatch.setattr(prefix, name, value)
    monkeypatch.setattr(varlen, "varlen_attn", varlen_2_13)
    monkeypatch.setattr(sys, "argv", ["prefix.py", "--quick", "--repeats", "1", "--out", str(out)])
    assert prefix.main() == 0
    printed = capsys.readouterr().out
    assert "FAILED" not in printed and "FlexAttention: NotImplementedError: " in printed  # it has no backward on CPUs
    results = json.loads(out.read_text())
    assert (results["card"], results["torch"]) == ("none", torch.__version__)
    *lines, by_flex = results["3 states"]["table"]
    assert by_flex in printed
    assert [line["way"] for line in lines] == [
        "stock padded, sdpa", "packed, nothing shared", "forest, the same rows", "forest, the same tokens"
    ]  # fmt: skip
    assert len(results["kernel"]["assertions"]) == 4 and len(results["3 states"]["assertions"]) == 9
    tokens = [line["tokens"] for line in lines]
    assert tokens == sorted(tokens, reverse=True) and tokens[0] > 1.5 * tokens[3]


@pytest.mark.slow
def test_without_a_gpu_it_says_so_and_needs_no_path(tmp_path):
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    script = Path(__file__).parent / "gpu" / "prefix.py"
    done = subprocess.run(
        [sys.executable, script], env=environment | {"CUDA_VISIBLE_DEVICES": ""}, cwd=tmp_path, capture_output=True,
        text=True, check=True,
    )  # fmt: skip
    assert done.stdout == "tests/gpu/prefix.py: skipped: torch sees no GPU here\n"
