"""Runs of train_ppo_ray for actors.py: started, watched, killed and read."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from openrlhf_marge.runs.log import Series, read_series
from openrlhf_marge.runs.warm_client import warmed

from actor_rows import Material

REPLAY = "--experience_maker marge --vllm.num_engines 0 --marge.replay_dir {material}/dump --train.colocate_actor_ref "


@dataclass(frozen=True)
class Job:
    """A run of train_ppo_ray that has begun."""

    name: str
    out: Path
    process: subprocess.Popen
    log: Path
    started: float

    def wait(self, seconds: float = 600.0) -> int | None:
        """Its exit status; None where it was killed after so many seconds."""
        try:
            return self.process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            return None

    def end(self) -> Ended:
        """Wait for it; RuntimeError with the end of its log where it failed."""
        code = self.wait()
        if code != 0:
            raise RuntimeError(f"{self.name} ended with {code}:\n{self._last()}")
        return Ended(self.name, self.out, time.perf_counter() - self.started, read_series(self.out / "tensorboard"))

    def kill(self) -> None:
        """At once, with all that it started."""
        with contextlib.suppress(psutil.NoSuchProcess):
            leader = psutil.Process(self.process.pid)
            for process in (*leader.children(recursive=True), leader):
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
        self.process.wait()

    def kill_after(self, path: Path, seconds: float = 600.0) -> bool:
        """Kill it as soon as its folder has ``path``; False where it ended before, or took longer than that."""
        end = time.perf_counter() + seconds
        while not (self.out / path).exists():
            if self.process.poll() is not None or time.perf_counter() > end:
                self.kill()
                print(f"{self.name} made no {path}:\n{self._last()}", flush=True)
                return False
            time.sleep(0.05)
        was_running = self.process.poll() is None
        self.kill()
        return was_running

    def _last(self) -> str:
        """The end of its log."""
        return self.log.read_text(errors="replace")[-2500:]


@dataclass(frozen=True)
class Ended:
    """A finished run."""

    name: str
    out: Path
    seconds: float
    series: Series

    def values(self, tag: str) -> list[float]:
        """One value per iteration of ``train/<tag>``."""
        return [value for _, value in self.series[f"train/{tag}"]]


def start(name: str, material: Material, out: Path, flags: str, environment: dict[str, str], on_gpu: bool) -> Job:
    """Begin a run on ``material``; what it prints is in ``out``/log.txt."""
    out.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "openrlhf.cli.train_ppo_ray", *common(material, out, on_gpu), *flags.split()]
    log = out / "log.txt"
    with log.open("ab") as file:
        process = subprocess.Popen(
            warmed(command, environment),
            env=environment,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    return Job(name, out, process, log, time.perf_counter())


def common(material: Material, out: Path, on_gpu: bool) -> list[str]:
    """A complete launch; later flags win. Two updates of the weights in each iteration."""
    shape = material.shape
    where = "--ds.attn_implementation sdpa" if on_gpu else "--ds.attn_implementation eager --vllm.sync_backend gloo"
    return f"""
        --actor.model_name_or_path {material.folder}/model --reward.remote_url {material.folder}/reward.py
        --data.prompt_dataset {material.folder}/train.jsonl --data.input_key input --data.label_key label
        --data.apply_chat_template --data.max_len {2 * (shape.prompt + shape.response)}
        --rollout.max_new_tokens {shape.response}
        --ckpt.output_dir {out}/model --ckpt.path {out}/checkpoints --logger.tensorboard_dir {out}/tensorboard
        --actor.num_gpus_per_node 1 --ref.num_gpus_per_node 1 --critic.num_gpus_per_node 1 {where}
        --ds.zero_stage 2 --actor.adam.lr 1e-5 --algo.kl.init_coef 0.01 --actor.gradient_checkpointing_enable
        --rollout.batch_size {shape.problems} --rollout.n_samples_per_prompt {shape.completions}
        --rollout.micro_batch_size {shape.completions}
        --train.batch_size {shape.rows // 2} --train.micro_batch_size {shape.completions}
    """.split()


@contextlib.contextmanager
def watched_memory(on_gpu: bool) -> Iterator[list[float]]:
    """The list gets one number in the end: the most memory of the card in use meanwhile, GiB above that before.

    Without a GPU it stays empty.
    """
    if not on_gpu:
        yield []
        return
    import pynvml

    pynvml.nvmlInit()
    card = pynvml.nvmlDeviceGetHandleByIndex(0)
    before, most, ended = pynvml.nvmlDeviceGetMemoryInfo(card).used, [0], threading.Event()

    def watch() -> None:
        while not ended.wait(0.02):
            most[0] = max(most[0], pynvml.nvmlDeviceGetMemoryInfo(card).used)

    thread, found = threading.Thread(target=watch), []
    thread.start()
    try:
        yield found
    finally:
        ended.set()
        thread.join()
        found.append((most[0] - before) / 2**30)


def traced(environment: dict[str, str], folder: Path, packages: list[Path]) -> dict[str, str]:
    """``environment`` in which actors write their calls to ``folder`` and ``packages`` are found first."""
    folder.mkdir(parents=True)
    path = os.pathsep.join([*map(str, packages), environment.get("PYTHONPATH", "")])
    return environment | {"MARGE_TRACE": str(folder), "PYTHONPATH": path}


def calls(folder: Path) -> list[list[str]]:
    """What each actor called, in order; the actors in an order that does not depend on their process ids."""
    return sorted(path.read_text().splitlines() for path in folder.glob("*.txt"))
