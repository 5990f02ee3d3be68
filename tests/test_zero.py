"""OpenRLHF's actor under DeepSpeed on two ranks, without ZeRO and under 2 and 3, with the patches."""

import inspect
import json
import sys
from pathlib import Path

import pytest

pytest.importorskip("openrlhf", reason="the host is not installed")

import torch
from deepspeed.runtime.zero.partition_parameters import Init

from openrlhf_marge.arithmetic.model import build_model, build_tokenizer

from stack import warm_run

pytestmark = pytest.mark.stack

SECONDS = 300  # a run takes about 20; the rest is for a loaded machine
LOOK_AT = "look at the learning rate and --ds.param_dtype, then at this batch's log-probs, rewards and advantages"


@pytest.fixture(scope="module")
def said(tmp_path_factory, warm_commands):
    """By stage and rank what tests/zero.py says."""
    folder = tmp_path_factory.mktemp("zero")
    model = build_model(build_tokenizer(), seed=0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):  # zeros else, as fresh memory is
                parameter.normal_(generator=torch.Generator().manual_seed(len(name)))
    model.save_pretrained(folder)

    def run(stage):
        command = [sys.executable, str(Path(__file__).with_name("zero.py")), str(folder), str(stage)]
        done = warm_run(command, SECONDS)
        (line,) = [line for line in done.stdout.splitlines() if line.startswith("RESULTS")] or [done.stderr[-3000:]]
        return json.loads(line.removeprefix("RESULTS"))

    return {stage: run(stage) for stage in (0, 2, 3)}


def test_every_rank_reads_every_weight_of_the_file(said):
    assert [said[stage][rank]["misread"] for stage in (0, 2, 3) for rank in "01"] == [[]] * 6


def test_no_gather_is_late(said):
    """A late one overwrites what was written meanwhile: with weights just loaded that was the NaN."""
    assert [said[3][rank]["lost writes"] for rank in "01"] == [0, 0]


def test_rotary_frequencies_are_float32(said):
    exact = [10000 ** (-i / 16) for i in range(16)]
    for stage in (2, 3):
        assert said[stage]["0"]["frequencies"] == pytest.approx(exact, rel=1e-6)


@pytest.mark.parametrize("rank", ["0", "1"])
@pytest.mark.parametrize(("when", "rounding"), [("before", 0.01), ("after", 0.05)])
def test_log_probs_do_not_depend_on_the_stage(said, rank, when, rounding):
    """But for bfloat16: DeepSpeed's linear layer under ZeRO 3 rounds once more, before it adds the bias."""
    for row, expected in zip(said[3][rank][when], said[2][rank][when], strict=True):
        assert row == pytest.approx(expected, abs=rounding)


@pytest.mark.parametrize("stage", [2, 3])
def test_two_optimizer_steps_make_the_tokens_likelier(said, stage):
    for rank in "01":
        before, after = (sum(map(sum, said[stage][rank][when])) for when in ("before", "after"))
        assert after > before + 1.0  # of 40 tokens


def test_the_reference_has_the_policys_log_probs_in_every_micro_batch(said):
    assert [said[stage][rank]["reference"] for stage in (2, 3) for rank in "01"] == [[True] * 3] * 4


def test_the_norm_of_the_gradients_does_not_depend_on_the_stage(said):
    for rank in "01":
        norms = [said[stage][rank]["norms"] for stage in (0, 2, 3)]
        assert len(norms[0]) == 2 and min(norms[0]) > 0.01
        assert norms[1] == pytest.approx(norms[0], rel=0.05) and norms[2] == pytest.approx(norms[0], rel=0.05)


@pytest.mark.parametrize("stage", [0, 2, 3])
@pytest.mark.parametrize("rank", ["0", "1"])
def test_what_is_not_finite_ends_the_training_in_one_sentence(said, stage, rank):
    """Two steps of two micro-batches went well. By itself ZeRO 2 leaves out the next, and ZeRO 3 loses the weights."""
    ends = said[stage][rank]
    assert ends["gradients"] == (
        f"the gradients are not finite on rank {rank} in optimizer step 3, micro-batch 2: {LOOK_AT}"
    )
    assert ends["loss"] == f"the loss is nan on rank {rank} in optimizer step 4, micro-batch 1: {LOOK_AT}"


def test_patch_0008_is_still_needed():
    """DeepSpeed waits for the last of several gathers. When this fails, the patch can go."""
    assert "launch_handles[-1].wait()" in inspect.getsource(Init._allgather_params_coalesced)
