"""Runs of OpenRLHF's own train_ppo_ray on the real Ray, vLLM and DeepSpeed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

pytest.importorskip("openrlhf", reason="the host is not installed")

from openrlhf_marge import REWARD_FILE
from openrlhf_marge.runs.cpu import cpu_environment

from stack import launch, train

MARGE = "--experience_maker marge --marge.n_candidates 16 "
# Steps so long that weights which do not reach the engines are seen: with an output head that stayed behind, 0.71 to
# 0.81 of the tokens had other log-probs in engine and policy, and 0 where all arrive.
FAR = "--ds.param_dtype fp32 --actor.adam.lr 1e-2 "
DIFFERS = "marge/engine_differs"
TOKENS = MARGE + "--marge.split tokens --marge.n_states 3 "


def test_marge_trains_through_openrlhfs_trainer_vllm_and_deepspeed(task, tmp_path, cluster):
    # At most 96 completions a rollout, so one optimizer step of 64 each, and a rest that waits.
    run = train(task, tmp_path, TOKENS + "--train.batch_size 64 --rollout.micro_batch_size 16", cluster)
    for evidence in ("MargeTrainer", "RolloutRayActor", "DeepSpeed", "update weight: model.", "Global step 2"):
        assert evidence in run.log
    completions = [4 * groups for groups in run.values("marge/groups")]
    assert all(60 < c <= 96 for c in completions)  # 8 problems x 3 states x 4; a guidance of 2 tokens has 2 states
    assert all(c % 64 == 0 for c in run.values("rollout/num_samples"))
    # Nothing is lost: what was not trained on waits.
    assert sum(completions) == sum(run.values("rollout/num_samples")) + run.values("marge/completions_waiting")[-1]
    assert run.values("graded") == [1.0] * len(completions)
    assert 0.0 < min(run.values("marge/groups_with_signal")) <= 1.0
    assert "group_id" not in run.log.split("Global step 1")[1].split("\n")[0]
    # The reference is the policy at the start of the iteration: no model for it, and no distance yet in the first
    # optimizer step.
    assert "ReferenceModelActor" not in run.log
    assert run.values("kl")[0] == pytest.approx(0.0, abs=1e-4)
    assert (tmp_path / "model" / "config.json").is_file()


@pytest.mark.parametrize("stage", [2, 3])
def test_reference_initial_with_kl_as_reward_on_two_ranks_and_two_engines(task, tmp_path, cluster, stage):
    # k1, the default, is below zero by chance where the policy has hardly moved; k2 is a square.
    flags = f"--marge.reference initial --algo.kl.estimator k2 --train.colocate_actor_ref --ds.zero_stage {stage}"
    ranks = "--actor.num_gpus_per_node 2 --ref.num_gpus_per_node 2"
    run = train(task, tmp_path, f"{MARGE} {flags} {ranks} {FAR} --vllm.num_engines 2", cluster)
    assert max(run.values(DIFFERS)) < 0.01, run.values(DIFFERS)
    assert "sample from another policy" not in run.log
    assert "ReferenceModelActor" in run.log
    first, second = run.values("kl")[:2]
    assert 0.0 <= first < second / 4, (first, second)  # rounding alone, before the policy has moved
    assert all(c % 16 == 0 for c in run.values("rollout/num_samples"))


# An untrained model is never right, and a run without signal ends with an error: half of its responses count as right.
GRADED = """
import torch
from openrlhf_marge.host.reward_func import reward_func as grade
def reward_func(queries, prompts, labels):
    rewards = torch.tensor([float(sum(map(ord, q)) % 2) for q in queries])
    return grade(queries, prompts, labels) | {"rewards": rewards, "scores": rewards}
"""


def test_everything_colocated_with_packing_dynamic_batches_wandb_and_the_grader(task, tmp_path, cluster):
    flags = "--train.colocate_all --train.dynamic_batch_enable --train.max_tokens_per_gpu 512 "
    (tmp_path / "graded.py").write_text(GRADED)
    flags += f"--reward.remote_url {tmp_path}/graded.py --logger.wandb.key {'0' * 40}"
    run = train(task, tmp_path, f"{MARGE} {flags}", cluster)
    assert run.values("grader_no_answer")[0] > 0.0 == max(run.values("grader_error")) == 0.0
    assert run.values("rollout/num_samples")[0] % 16 == 0
    assert run.values("marge/taken_steps")[-1] == sum(run.values("rollout/num_samples")) / 16
    (logged,) = Path(cluster["WANDB_DIR"]).glob("wandb/offline-run-*/*.wandb")
    for tag in ("groups_with_signal", "outcome_diversity_per_1k_tokens", "exploring_seconds"):
        assert f"train/marge/{tag}".encode() in logged.read_bytes()


def test_lora_with_zero_3(task, tmp_path, cluster):
    flags = "--ds.lora.rank 4 --ds.zero_stage 3 --actor.adam.lr 1e-2"
    run = train(task, tmp_path, TOKENS + flags, cluster)
    assert max(run.values(DIFFERS)) < 0.1, run.values(DIFFERS)  # bfloat16


def test_evaluation_ema_checkpoint_and_resume(task, tmp_path, cluster):
    flags = f"""{TOKENS} --eval.dataset {task.folder}/heldout.jsonl --eval.steps 1 --eval.n_samples_per_prompt 2
        --ckpt.save_steps 1 --train.enable_ema --ds.param_dtype fp32"""
    first = train(task, tmp_path, flags, cluster)
    assert [step for step, _ in first.series["eval/eval_arithmetic_pass2"]] == [1, 2]
    resumed = train(task, tmp_path, f"{flags} --train.num_episodes 2 --ckpt.load_enable", cluster)
    assert "Resumed with <<guidance of 16 problems>" in resumed.log
    assert "--train.enable_ema: the moving average begins anew, at the checkpoint's policy" in resumed.log
    assert "Global step 5" not in resumed.log  # the episode that had ended is not done again
    assert "Global step 3" in resumed.log and "Global step 4" in resumed.log
    # Every problem had its guidance: the second episode needs no candidates.
    assert resumed.values("marge/candidate_tokens")[-2:] == [0.0, 0.0]


def test_the_default_maker_still_trains(task, tmp_path, cluster):
    run = train(task, tmp_path, f"--algo.advantage.estimator gae --reward.remote_url {REWARD_FILE}", cluster)
    assert len(run.values("grader_no_answer")) == len(run.values("grader_timeout")) == 2
    assert run.values("rollout/num_samples") == [32.0, 32.0]
    assert not [tag for tag in run.series if "marge" in tag]


def test_a_reward_that_fails_in_the_run_stops_it_and_names_file_and_problem(task, tmp_path, cluster):
    late = tmp_path / "late.py"
    # It answers the trial at the start and fails on real prompts.
    late.write_text(
        "def reward_func(queries, prompts, labels):\n"
        "    return None if 'assistant' in prompts[0] else {'rewards': [0.0]}\n"
    )
    run = launch(task, tmp_path, f"{TOKENS} --reward.remote_url {late}", cluster)
    assert run.returncode != 0
    assert f"--reward.remote_url {late} failed on the problem" in run.log
    assert "the reward function returned nothing" in run.log


def test_weights_that_are_lost_end_the_run(task, tmp_path, cluster):
    run = launch(task, tmp_path, f"{TOKENS} --actor.adam.lr 1e39 --actor.lr_scheduler constant", cluster)
    assert run.returncode != 0
    assert "the loss is nan on rank 0 in optimizer step 2, micro-batch 1: look at the learning rate" in run.log
    assert not (tmp_path / "model").exists()


def test_ctrl_c_stops_what_was_started_and_nothing_else(task, tmp_path):
    """Without a cluster around it train_ppo_ray starts its own; that, and only that, must be gone afterwards."""
    bystander = subprocess.Popen(["sleep", "600"])
    environment = {k: v for k, v in cpu_environment().items() if k != "RAY_ADDRESS"} | {"RAY_TMPDIR": "/tmp"}
    command = [sys.executable, "-um", "openrlhf.cli.train_ppo_ray", *task.flags(tmp_path), *TOKENS.split()]
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(
            command, env=environment, stdout=log, stderr=log, start_new_session=True,
            # A shell lets its background jobs ignore Ctrl-C, and the tests may be one.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )  # fmt: skip
    try:
        started = wait_for_ray(process, tmp_path / "log")
        assert any("raylet" in p.name() for p in started)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=120) != 0
        _gone, alive = psutil.wait_procs(started, timeout=60)
        assert not alive, alive
        assert bystander.poll() is None
    finally:
        bystander.kill()
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)


def wait_for_ray(process, log) -> list[psutil.Process]:
    """All descendants once Ray is up: the command then prints its arguments, and waits for a GPU that is not there."""
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline and process.poll() is None:
        if "namespace(experience_maker='marge'" in log.read_text():
            return psutil.Process(process.pid).children(recursive=True)
        time.sleep(0.5)
    raise AssertionError(f"no Ray was started (exit code {process.poll()}): {log.read_text()[-2000:]}")
