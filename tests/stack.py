"""Runs of the real stack for tests: a tiny random model, a scripted grader, one Ray cluster for all."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from openrlhf_marge.arithmetic.model import build_model, build_tokenizer
from openrlhf_marge.arithmetic.problems import split_problems
from openrlhf_marge.arithmetic.task import write_jsonl
from openrlhf_marge.runs.cpu import cpu_environment
from openrlhf_marge.runs.log import Series, read_series
from openrlhf_marge.runs.warm_client import warmed

PORT_TAKEN = "name: EADDRINUSE"
RUN_SECONDS = 400  # a run takes about 40; the rest is for a loaded machine
# An untrained model solves nothing, so half of all responses count as correct, whatever they say. The grader also
# proves on every call that it is given the bare prompt first and a response that starts with s_0.
REWARD = """
import torch
def reward_func(queries, prompts, labels):
    for query, prompt in zip(queries, prompts, strict=True):
        assert query.startswith(prompt) and prompt.endswith("assistant\\n"), (query, prompt)
    rewards = torch.tensor([float(sum(map(ord, q)) % 2) for q in queries])
    return {"rewards": rewards, "scores": rewards, "extra_logs": {"graded": torch.ones(len(queries))}}
"""

# For reward files: every worker of the run dies, this one last. The cluster, of which Ray's agents are a part, stays.
KILL_WORKERS = """
import os, signal
import psutil

def kill_workers():
    here = psutil.Process()
    titles = {p: " ".join(p.cmdline()) for p in here.parent().children()}
    workers = [p for p, title in titles.items() if title.startswith("ray::") and "agent" not in title.lower()]
    others = [p for p in workers if p != here]
    for p in [*others, *(child for p in workers for child in p.children(recursive=True)), here]:
        try:
            os.kill(p.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
"""


@dataclass(frozen=True)
class TinyTask:
    """Folder with model, train.jsonl (16 problems or as asked for), heldout.jsonl (4) and reward.py."""

    folder: Path

    def flags(self, out: Path) -> list[str]:
        """A complete launch of train_ppo_ray on this task; later flags win."""
        return f"""
            --actor.model_name_or_path {self.folder}/model --reward.remote_url {self.folder}/reward.py
            --data.prompt_dataset {self.folder}/train.jsonl --data.input_key input --data.label_key label
            --data.apply_chat_template --data.max_len 64 --rollout.max_new_tokens 24
            --ckpt.output_dir {out}/model --ckpt.path {out}/checkpoints --logger.tensorboard_dir {out}/tensorboard
            --actor.num_gpus_per_node 1 --ref.num_gpus_per_node 1 --critic.num_gpus_per_node 1
            --vllm.num_engines 1 --vllm.sync_backend gloo --vllm.enforce_eager
            --ds.zero_stage 0 --ds.attn_implementation eager --actor.adam.lr 1e-3 --algo.kl.init_coef 0.01
            --rollout.batch_size 8 --rollout.n_samples_per_prompt 4 --rollout.micro_batch_size 8
            --train.batch_size 16 --train.micro_batch_size 8
        """.split()


def make_task(folder: Path, num_train: int = 16) -> TinyTask:
    train, heldout = split_problems(seed=0, num_train=num_train, num_heldout=4)
    write_jsonl(train, folder / "train.jsonl")
    write_jsonl(heldout, folder / "heldout.jsonl")
    tokenizer = build_tokenizer()
    model = build_model(tokenizer, seed=0)
    # Untrained, it would find all tokens about equally likely, and log-probs of the wrong token would look right.
    model.get_input_embeddings().weight.data.mul_(4)
    model.save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")
    (folder / "reward.py").write_text(REWARD)
    return TinyTask(folder)


def warm_run(command: list[str], seconds: float = RUN_SECONDS) -> subprocess.CompletedProcess[str]:
    """What a command of this Python said on a CPU; with the fixture ``warm_commands`` it begins loaded."""
    environment = cpu_environment()
    return subprocess.run(
        warmed(command, environment), env=environment, capture_output=True, text=True, timeout=seconds
    )


@dataclass(frozen=True)
class Run:
    """A finished run of train_ppo_ray."""

    returncode: int
    log: str
    out: Path

    @property
    def series(self) -> Series:
        return read_series(self.out / "tensorboard")

    def values(self, tag: str) -> list[float]:
        """One value per step of ``train/<tag>``."""
        return [value for _, value in self.series[f"train/{tag}"]]


def train(task: TinyTask, out: Path, flags: str | list[str], environment: dict[str, str]) -> Run:
    """Run train_ppo_ray with the task's flags and ``flags``; AssertionError with the log's end when it fails."""
    run = launch(task, out, flags, environment)
    assert run.returncode == 0, run.log[-6000:]
    return run


def launch(task: TinyTask, out: Path, flags: str | list[str], environment: dict[str, str]) -> Run:
    """As ``train``, for runs that may fail.

    OpenRLHF asks for a free port and takes it seconds later. When something else took it meanwhile, which says nothing
    about the run, there is a second one.
    """
    run = _launch(task, out, flags, environment)
    return _launch(task, out, flags, environment) if run.returncode and PORT_TAKEN in run.log else run


def _launch(task: TinyTask, out: Path, flags: str | list[str], environment: dict[str, str]) -> Run:
    more = flags.split() if isinstance(flags, str) else flags
    command = [sys.executable, "-m", "openrlhf.cli.train_ppo_ray", *task.flags(out), *more]
    try:
        done = subprocess.run(
            warmed(command, environment),
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=RUN_SECONDS,
        )
    except subprocess.TimeoutExpired as e:
        log = (e.output or b"").decode(errors="replace")
        raise AssertionError(f"not ended after {RUN_SECONDS} s; the end of its log:\n{log[-6000:]}") from None
    return Run(done.returncode, done.stdout.decode(errors="replace"), out)
