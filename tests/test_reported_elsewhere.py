"""Faults that users of other trainers reported, each looked for here on the host's own classes."""

import json
import sys
from collections import Counter
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip("openrlhf", reason="the host is not installed")

import torch
from openrlhf.models import Actor, PolicyLoss
from openrlhf.trainer.dpo_trainer import DPOTrainer
from openrlhf.trainer.rm_trainer import RewardModelTrainer
from openrlhf.utils.distributed_sampler import DistributedSampler
from torchdata.stateful_dataloader import StatefulDataLoader

from openrlhf_marge import State, StateGroup
from openrlhf_marge.arithmetic.model import build_model, build_tokenizer
from openrlhf_marge.data.dump import dump_files
from openrlhf_marge.data.dump_reading import read_groups
from openrlhf_marge.grading import grade
from openrlhf_marge.host.rollout.records import RolloutRecord
from openrlhf_marge.runs.checkpoints import CheckpointStore

from factories import completion, problem
from host_objects import batch_of
from stack import KILL_WORKERS, REWARD, launch, make_task, train, warm_run

# In the engine's core, a process that the engine's actor starts: one line per sync, the sum of squares of the weights.
NORMS = """
import os
from openrlhf.trainer.ray.vllm_worker_wrap import WorkerWrap

def update_weight(worker, name, dtype, shape, empty_cache=False, original=WorkerWrap.update_weight):
    if empty_cache:  # the last one: all others wait here
        with open(os.path.dirname(__file__) + "/norms", "a") as file:
            print(sum(float(w.double().square().sum()) for _, w in worker._pending_weights), file=file)
    original(worker, name, dtype, shape, empty_cache)

WorkerWrap.update_weight = update_weight
"""
# In every process of the cluster that loads the grader: once the first step has its checkpoint, all workers die.
# An engine's actor loads it, too, and what it starts then finds the sitecustomize beside it.
KILLER = """
import os, pathlib, threading, time
import psutil

os.environ["PYTHONPATH"] = os.pathsep.join([os.path.dirname(__file__), os.environ.get("PYTHONPATH", "")])

def kill_all(folder=pathlib.Path(__file__).parent):
    while not (folder / "checkpoints" / "_marge" / "complete.json").exists():
        time.sleep(0.01)
    kill_workers()

if pathlib.Path(__file__).with_name("kill").exists() and psutil.Process().cmdline()[0].startswith("ray::"):
    threading.Thread(target=kill_all, daemon=True).start()
"""


def completions_of(rollouts) -> int:
    return sum(len(g.completions) for path in rollouts for g in read_groups(path))


def test_async_lora_killed_while_groups_wait_loses_none_and_every_sync_brings_new_weights(tmp_path, cluster):
    task, kill, norms = make_task(tmp_path), tmp_path / "kill", tmp_path / "norms"
    (tmp_path / "reward.py").write_text(KILL_WORKERS + KILLER + REWARD)
    (tmp_path / "sitecustomize.py").write_text(NORMS)
    flags = f"""--experience_maker marge --marge.n_candidates 16 --marge.split tokens --marge.n_states 3
        --marge.guidance_rule random --marge.dump_dir {tmp_path}/dump --train.async_enable --train.num_episodes 2
        --ds.lora.rank 4 --actor.adam.lr 1e-2 --ckpt.save_steps 1 --ckpt.load_enable"""
    kill.touch()
    assert launch(task, tmp_path, flags, cluster).returncode != 0
    store = CheckpointStore(tmp_path / "checkpoints" / "_marge")
    (step,) = store.complete().values()
    record = store.read_state(step, RolloutRecord)
    rollouts = dump_files(tmp_path / "dump")
    assert step == 1 and len(rollouts) > record.rollouts  # groups waited in the host's queue
    trained = completions_of(rollouts[: record.rollouts]) - sum(len(g.completions) for g in record.waiting)
    kill.unlink()
    first_sync = norms.read_text().splitlines()[0]
    norms.unlink()
    resumed = train(task, tmp_path, flags, cluster)
    later = {s: samples for s, samples in resumed.series["train/rollout/num_samples"] if s > step}
    rollouts = dump_files(tmp_path / "dump")
    waiting = sum(len(g.completions) for g in store.read_state(max(later), RolloutRecord).waiting)
    assert completions_of(rollouts) == trained + sum(later.values()) + waiting
    visits = Counter(g.problem.id for path in rollouts for g in read_groups(path) if g.state.index == 0)
    assert set(visits.values()) == {2}
    # The first sync of the resumed run brings the weights of the checkpoint, each later one those of a step.
    sums = norms.read_text().splitlines()
    assert sums[0] == first_sync and len(sums) == 1 + len(later)
    assert all(one != other for one, other in pairwise(sums))


class Killed(Exception):
    """At a checkpoint."""


def train_rows(trainer, n_rows: int, ranks: int, *, rank=0, consumed=0, kill_at=None) -> tuple[list[int], int]:
    """Rows in the order of the host's training loop, 2 epochs of batches of 4, and how many the checkpoint counts.

    Loop, sampler and loader are the host's; the model, its loss and the optimizer do nothing.
    """
    rows: list[int] = []

    def collate(batch):
        rows.extend(batch)
        return (torch.zeros(len(batch), 1, 1),) * 5

    def save(args, step, bar, logs, states):
        if step == kill_at:
            raise Killed(states["consumed_samples"])

    nothing = torch.zeros(1)
    sampler = DistributedSampler(range(n_rows), ranks, rank, shuffle=True, seed=3, drop_last=True)
    self = SimpleNamespace(
        model=torch.nn.Linear(1, 1), ref_model=torch.nn.Linear(1, 1), optimizer=None, epochs=2, aux_loss=False,
        nll_loss=False, margin_loss=False, compute_fp32_loss=False, _wandb=None, _tensorboard=None,
        scheduler=SimpleNamespace(get_last_lr=lambda: [0.0]), save_logs_and_checkpoints=save,
        train_dataloader=StatefulDataLoader(range(n_rows), 2, sampler=sampler, drop_last=True, collate_fn=collate),
        strategy=SimpleNamespace(
            accumulated_gradient=4 // 2 // ranks, is_rank_0=lambda: False, all_reduce=lambda logs: logs,
            backward=lambda *_: None, optimizer_step=lambda *_: None, get_grad_norm=lambda _: 0.0,
        ),
        concatenated_forward=lambda *_: (nothing,) * (4 if trainer is DPOTrainer else 3),
        loss_fn=lambda *_: (nothing,) * 3 if trainer is DPOTrainer else nothing,
        args=SimpleNamespace(
            train=SimpleNamespace(batch_size=4), eval=SimpleNamespace(steps=-1), ckpt=SimpleNamespace(save_steps=1),
            model=SimpleNamespace(aux_loss_coef=0.0, nll_loss_coef=0.0),
        ),
    )  # fmt: skip
    self.args.model.loss = "sigmoid"
    try:
        trainer.fit(self, self.args, consumed, n_rows // 4)
    except Killed as e:
        return rows, e.args[0]
    return rows, -1


@pytest.mark.parametrize("trainer", [DPOTrainer, RewardModelTrainer])
@pytest.mark.parametrize(("n_rows", "ranks"), [(10, 1), (12, 1), (11, 1), (10, 2)])
def test_a_training_killed_at_any_step_sees_every_row_once_per_epoch(trainer, n_rows, ranks):
    """What fills no micro-batch of every rank is left out by the host's loader: other rows in each epoch."""
    undisturbed, _ = train_rows(trainer, n_rows, ranks)
    per_epoch = n_rows // (2 * ranks) * 2
    epochs = [undisturbed[:per_epoch], undisturbed[per_epoch:]]
    assert [len(set(epoch)) for epoch in epochs] == [per_epoch] * 2
    for step in range(1, len(undisturbed) * ranks // 4 + 1):
        before, consumed = train_rows(trainer, n_rows, ranks, kill_at=step)
        after, _ = train_rows(trainer, n_rows, ranks, consumed=consumed)
        assert before + after == undisturbed, step


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A folder with a small model that finds its tokens far from equally likely."""
    folder = tmp_path_factory.mktemp("model")
    model = build_model(build_tokenizer(), seed=0)
    model.get_input_embeddings().weight.data.mul_(4)
    model.save_pretrained(folder)
    return folder


def test_however_uneven_groups_are_cut_into_micro_batches_the_gradient_is_the_same(model, warm_commands):
    """Under ZeRO 2 and with dynamic batches it was that of the last micro-batch alone (patch 0013)."""
    done = warm_run([sys.executable, str(Path(__file__).with_name("micro_batches.py")), str(model)])
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("RESULTS")] or [done.stderr[-3000:]]
    token_mean, seq_mean, critic = json.loads(line.removeprefix("RESULTS"))
    for one, *more in (token_mean, seq_mean, critic):
        assert max(map(abs, one)) > 1e-3
        for gradient in more:
            assert gradient == pytest.approx(one, rel=1e-3, abs=1e-5)
    assert token_mean[0] != pytest.approx(seq_mean[0], rel=1e-2, abs=1e-5)


CORRECTIONS = [
    ("token", "mask", "ratio", [0.999, 1.001]), ("token", "clip", "ratio", [0.999, 1.001]),
    ("seq", "mask", "ratio", [0.999, 1.001]), ("token", "mask", "tv", [0.0, 1e-3]),
    ("token", "mask", "binary_kl", [0.0, 1e-4]), ("seq", "mask", "binary_kl", [0.0, 1e-4]),
]  # fmt: skip


@pytest.mark.parametrize(("level", "mode", "gating", "threshold"), CORRECTIONS)
def test_with_the_same_weights_nothing_is_corrected(level, mode, gating, threshold):
    """Log-probs as an engine gives them, one per sampled token, behind prefixes of uneven length."""
    plain = build_model(build_tokenizer(), seed=0).float().eval()
    plain.get_input_embeddings().weight.data.mul_(4)

    def sampled(prefix, ids):
        with torch.no_grad():
            logits = plain(torch.tensor([[1, 2, 3, *prefix, *ids]])).logits[0].log_softmax(-1)
        start = 3 + len(prefix)
        log_probs = tuple(logits[start + i - 1, token].item() for i, token in enumerate(ids))
        return completion(float(ids[0] % 2), ids=ids, log_probs=log_probs)

    groups = [
        StateGroup(
            id=number, problem=problem(prompt_ids=(1, 2, 3)), state=State(index=0, prefix_ids=prefix), n_states=1,
            completions=(sampled(prefix, (5, 6, 0)), sampled(prefix, (4, 9, 9, 8, 7, 0))),
        )
        for number, prefix in enumerate([(), (8,), (9, 4, 4, 7)])
    ]  # fmt: skip
    batch, actor = batch_of(groups, (3, 0, 5, 2, 1, 4)), Actor(plain)
    actor.packing_samples = False
    with torch.no_grad():
        log_probs = actor(batch.sequences, batch.action_mask, batch.attention_mask)
    loss = PolicyLoss(
        is_correction_level=level, is_correction_mode=mode, is_correction_gating=gating,
        is_correction_threshold=threshold,
    )  # fmt: skip
    advantages = torch.ones_like(log_probs)

    def rejected(of_engine):
        return loss(log_probs, log_probs, advantages, batch.action_mask, of_engine)[-1].item()

    assert rejected(batch.rollout_log_probs) == 0.0
    assert rejected(batch.rollout_log_probs.roll(1, dims=1)) > 0.5


GUIDANCE = "Let's think step by step.\n\nStep 1: 3 + 4 = 7, so it is $\\boxed{7}$.\nStep 2:"


@pytest.mark.parametrize(
    ("completion", "is_correct"),
    [
        (" so the answer is 8.", False), (" The final answer is: $8$. I hope it is correct.", False),
        (" I was wrong. The answer is:\n\n8", False), (" Answer: 8", False), ("\n**Answer:** $8$", False),
        (" The answer is 8, not 7.", False), (" The answer is 8 because I forgot 1.", False),
        (" The answer is 8 apples.", False), (" <answer>8</answer>", False), (" so $\\boxed{8}$.", False),
        (" 3 + 5 = 8.\n#### 8", False), (" Twice the answer is \\boxed{14}.", False),
        # The same again, or what states no other answer: that of the guidance is the response's final answer.
        (" so the answer is 7.", True), (" The answer is 7 because 8 is odd.", True), ("", True),
        (" The answer is consistent with the 3 facts.", True), (" The answer is not 8.", True),
        (" The answer is 3 times larger than 2.", True), (" That took 2 steps.", True),
        (" Is the answer 8? No.", True),
    ],
)  # fmt: skip
def test_a_boxed_answer_in_the_guidance_answers_for_no_completion_that_states_another(completion, is_correct):
    assert grade(GUIDANCE + completion, "7").correct is is_correct
