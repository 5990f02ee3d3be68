"""A launch of which one process, or all, are killed at a moment of a rollout, and what it leaves behind."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from openrlhf_marge.runs.warm_client import warmed

START_SECONDS, END_SECONDS, RUN_SECONDS = 300, 120, 600  # to the first rollout, after a kill, of a whole run
LEFT_SECONDS = 30  # that Ray and vLLM have to end their processes
VICTIMS = {
    "sync": ("all", "MargeTrainer", "RolloutRayActor", "PolicyModelActor", "driver"),  # its engine has no core apart
    "async": (
        *("all", "MargeGeneratorActor", "MargeTrainingActor", "RolloutRayActor", "VLLM::EngineCore"),
        *("PolicyModelActor", "driver"),
    ),
}
VICTIMS["partial"] = VICTIMS["async"]


@dataclass(frozen=True)
class Launch:
    """How a launch ended: ``victim`` None where it was not killed; ``seconds`` from the kill to its end."""

    victim: str | None
    seconds: float
    returncode: int
    log: str
    left: tuple[str, ...]  # processes that outlived it, and were then killed


def launch(words: list[str], out: Path, environment: dict[str, str], rng: random.Random | None, mode: str) -> Launch:
    """Run it, with a kill where there is a generator; RuntimeError when it does not start or does not end."""
    out.mkdir(exist_ok=True)
    log = out / "log"
    with log.open("wb") as sink:
        process = subprocess.Popen(warmed(words, environment), env=environment, stdout=sink, stderr=subprocess.STDOUT)
    victim = None
    try:
        if rng is not None:
            victim = rng.choice(VICTIMS[mode])
            moment = rng.uniform(0, 8)
            wait(lambda: b"Explore problems" in log.read_bytes() or process.poll() is not None, START_SECONDS)
            time.sleep(moment)
            if process.poll() is not None or not kill(victim, process.pid):
                victim = None
        seconds = wait(lambda: process.poll() is not None, END_SECONDS if victim else RUN_SECONDS)
        left = end_workers()
    except TimeoutError as e:
        raise RuntimeError(f"{mode}, killed {victim}: {e}; the end of {log}:\n{tail(log)}") from e
    finally:
        if process.poll() is None:
            process.kill()
    return Launch(victim, seconds, process.returncode, tail(log), left)


def end_workers() -> tuple[str, ...]:
    """Kill what is still there half a minute after the run; the names of these."""
    with suppress(TimeoutError):
        wait(lambda: not any(workers()), LEFT_SECONDS)
    left = [(process, title(process)) for process in workers()]
    for process, _ in left:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    return tuple(name.split(".")[0] for _, name in left)


def workers() -> Iterator[psutil.Process]:
    """The processes of the run within our own cluster."""
    for process in psutil.Process().children(recursive=True):
        name = title(process)
        is_worker = name.startswith(("ray::", "VLLM::")) and not name.startswith("ray::IDLE")
        if is_worker and "agent" not in name.lower():
            yield process


def title(process: psutil.Process) -> str:
    try:
        return "" if process.status() == psutil.STATUS_ZOMBIE else " ".join(process.cmdline())
    except psutil.Error:
        return ""


def kill(victim: str, driver: int) -> bool:
    """Whether there was something to kill."""
    found = [p.pid for p in workers() if victim == "all" or victim in title(p)] if victim != "driver" else []
    found += [driver] if victim in ("all", "driver") else []
    for pid in found:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return bool(found)


def wait(done, seconds: float) -> float:
    """Seconds until it is so; TimeoutError after so many."""
    start = time.monotonic()
    while not done():
        if time.monotonic() - start > seconds:
            raise TimeoutError(f"not ended after {seconds:.0f} s")
        time.sleep(0.05)
    return time.monotonic() - start


def tail(log: Path) -> str:
    return log.read_text(errors="replace")[-3000:]
