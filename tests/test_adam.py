"""An optimizer that goes on from a checkpoint in a new process, against one that was never stopped."""

import sys

import pytest

pytest.importorskip("openrlhf", reason="the host is not installed")

import torch

from stack import warm_run

pytestmark = [pytest.mark.stack, pytest.mark.usefixtures("warm_commands")]

# 12 steps, a checkpoint after 6; with a second argument only those after it.
STEPS = """
import sys
import torch
from deepspeed.ops.adam import FusedAdam
from openrlhf_marge.host.training.adam import forget_powers

folder, goes_on = sys.argv[1], len(sys.argv) > 2
weights = torch.nn.Parameter(torch.linspace(-1, 1, 5000))
optimizer = FusedAdam([weights], lr=1e-3, betas=(0.9, 0.95))
if goes_on:
    weights.data, state = torch.load(f"{folder}/checkpoint")
    optimizer.load_state_dict(state)
for step in range(6 if goes_on else 0, 12):
    if step == 6:
        forget_powers()
        if not goes_on:
            torch.save((weights.data, optimizer.state_dict()), f"{folder}/checkpoint")
    weights.grad = 1e-3 * torch.randn(5000, generator=torch.Generator().manual_seed(step))
    optimizer.step()
torch.save(weights.data, f"{folder}/{'resumed' if goes_on else 'undisturbed'}")
"""


def test_a_resumed_optimizer_makes_the_steps_of_an_undisturbed_one(tmp_path):
    for more in ([], ["goes on"]):
        done = warm_run([sys.executable, "-c", STEPS, str(tmp_path), *more])
        assert done.returncode == 0, done.stderr
    undisturbed, resumed = (torch.load(tmp_path / name) for name in ("undisturbed", "resumed"))
    assert torch.equal(undisturbed, resumed), (undisturbed != resumed).sum()
