"""``--marge.share_prefix`` in runs of OpenRLHF's own train_ppo_ray on the real stack."""

import re

import pytest

pytest.importorskip("openrlhf", reason="the host is not installed")

import torch
from safetensors.torch import load_file

from stack import train

pytestmark = pytest.mark.stack

TOKENS = "--experience_maker marge --marge.n_candidates 16 --marge.split tokens --marge.n_states 3 "
DYNAMIC = "--train.dynamic_batch_enable --train.max_tokens_per_gpu 512 "


def test_with_zero_3_dynamic_batches_a_reference_ema_entropy_and_checkpointing(task, tmp_path, cluster):
    flags = "--ds.zero_stage 3 --marge.reference episode --train.enable_ema --actor.entropy_coef 0 "
    flags += "--ds.param_dtype fp32 "
    flags += "--actor.gradient_checkpointing_enable --train.num_episodes 2 --actor.num_gpus_per_node 2 "
    run = train(task, tmp_path, TOKENS + DYNAMIC + flags + "--marge.share_prefix", cluster)
    assert max(run.values("marge/engine_differs")) < 0.1, run.values("marge/engine_differs")
    assert min(run.values("marge/shared_token_ratio")) > 1.5
    given, distinct = run.values("marge/trained_tokens"), run.values("marge/trained_tokens_distinct")
    assert all(d < g for g, d in zip(given, distinct, strict=True))
    assert run.values("marge/taken_steps")[-1] == sum(run.values("rollout/num_samples")) / 16
    assert min(run.values("entropy_loss")) > 0.5  # nats; an untrained model is far from sure
    said = re.findall(r"share_prefix: (\d+) tokens of the first micro-batch are (\d+) distinct ones", run.log)
    assert said and all(int(distinct) < int(given) for given, distinct in said)


def test_training_on_the_same_completions_ends_at_the_same_weights(task, tmp_path, cluster):
    """In float32, where only rounding differs; Adam's steps are as long as the gradient's direction is sure."""
    train(task, tmp_path / "sampled", f"{TOKENS} --marge.dump_dir {tmp_path}/dump", cluster)
    weights = {}
    for name, flags in {"stock": "", "shared": "--marge.share_prefix"}.items():
        replay = f"{TOKENS} --marge.replay_dir {tmp_path}/dump --ds.param_dtype fp32 --actor.adam.eps 1e-3 {flags}"
        run = train(task, tmp_path / name, f"{replay} --train.full_determinism_enable", cluster)
        weights[name] = load_file(tmp_path / name / "model" / "model.safetensors")
        assert ("marge/shared_token_ratio" in str(run.series.keys())) == (name == "shared")
    start = load_file(task.folder / "model" / "model.safetensors")
    for name, before in start.items():
        moved = (weights["stock"][name] - before).norm()
        assert (weights["shared"][name] - weights["stock"][name]).norm() <= 1e-3 * moved + 1e-7, name
    assert not torch.equal(*(w["model.embed_tokens.weight"] for w in (start, weights["stock"])))
