"""What --train.full_determinism_enable promises of the engines on a CPU."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("openrlhf", reason="the host is not installed")

import torch
from hypothesis import given
from hypothesis import strategies as st
from openrlhf.trainer.ray.vllm_cpu_worker import batch_invariant_linear

BENCHMARK = Path(__file__).parent / "benchmarks" / "determinism.py"


@pytest.mark.parametrize("terms", [(2.0**13, 2.0**-13, -(2.0**13)), (2.0**13, -(2.0**13), 2.0**-13)])
def test_a_sum_does_not_depend_on_its_order(terms):
    """Summed in float32, as the stock kernels do, the first of these is 0."""
    x = torch.tensor([terms], dtype=torch.bfloat16)
    assert batch_invariant_linear(x, torch.ones(1, 3, dtype=torch.bfloat16)).tolist() == [[2.0**-13]]


@given(rows=st.integers(1, 70), outputs=st.integers(1, 70), inputs=st.integers(1, 200), seed=st.integers(0, 2**32))
def test_a_row_does_not_depend_on_the_others(rows, outputs, inputs, seed):
    generator = torch.Generator().manual_seed(seed)
    x, weight, bias = (
        torch.randn(shape, generator=generator).to(torch.bfloat16)
        for shape in ((rows, inputs), (outputs, inputs), (outputs,))
    )
    alone = torch.cat([batch_invariant_linear(row[None], weight, bias) for row in x])
    assert torch.equal(batch_invariant_linear(x, weight, bias), alone)
    assert alone.dtype == torch.bfloat16


@pytest.mark.stack
def test_no_completion_depends_on_order_or_number_of_engines():
    command = [sys.executable, str(BENCHMARK), "--completions", "96"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stderr[-3000:]
    assert re.findall(r": (\d+) of 96 completions, log-probs of (\d+) of", done.stdout) == [("0", "0")] * 3
