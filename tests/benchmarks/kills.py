"""SIGKILLs at seeded moments on the real stack, in synchronous and in asynchronous training; what is left is checked.

    python tests/benchmarks/kills.py [--kills 50] [--seed 0] [--modes sync async partial] [--minutes 20]

A chain is one run that is killed up to five times and then goes on to its end. What is killed is one process (trainer,
generator, engine, the engine's core, policy, driver) or all at once, at a moment between the first rollout's begin and
some seconds later. Of every chain is checked that each problem was explored once an episode, every group is whole and
was trained on once or waits, every reward is the grader's, all guidance was sampled in the visit that it names, and
that a killed run ended within 120 s; of synchronous chains also that completions, guidance and what waits are those of
a run that nothing disturbed.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

HOOKS = Path(__file__).parent / "hooks"
# Before Ray starts, as its workers inherit it.
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(HOOKS), os.environ.get("PYTHONPATH", "")]))

import psutil

from openrlhf_marge.host.standalone.local_ray import local_ray
from openrlhf_marge.runs.warm_client import warmed

sys.path.append(str(Path(__file__).parents[1]))  # helpers of the tests

from kill_checks import check_run, check_same
from stack import TinyTask, make_task

PER_CHAIN = 5
START_SECONDS, END_SECONDS, RUN_SECONDS = 300, 120, 600  # to the first rollout, after a kill, of a whole run
LEFT_SECONDS = 30  # that Ray and vLLM have to end their processes
EPISODES = 6
COMMON = f"""--experience_maker marge --marge.guidance_rule random --marge.n_candidates 4 --marge.split tokens
    --marge.n_states 3 --ckpt.save_steps 1 --ckpt.max_num 2 --ckpt.load_enable --train.num_episodes {EPISODES}
    --logger.logging_steps 1"""
MODES = {
    "sync": "--train.full_determinism_enable",
    "async": "--train.async_enable",
    "partial": "--train.async_enable --train.partial_rollout_enable",
}
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


def command(task: TinyTask, out: Path, mode: str) -> list[str]:
    flags = f"{COMMON} {MODES[mode]} --marge.dump_dir {out}/dump".split()
    return [sys.executable, "-m", "openrlhf.cli.train_ppo_ray", *task.flags(out), *flags]


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


def chain(task: TinyTask, out: Path, mode: str, environment: dict[str, str], rng: random.Random, most: int) -> list:
    """The kills of one run, which has then ended by itself and been checked."""
    words, kills = command(task, out, mode), []
    while True:
        done = launch(words, out, environment, rng if len(kills) < min(most, PER_CHAIN) else None, mode)
        if done.victim is None:
            if done.returncode:
                raise RuntimeError(f"{mode}: a run that nothing killed failed:\n{done.log}")
            break
        kills.append(done)
        left = f"; left were {', '.join(done.left)}" if done.left else ""
        print(f"  {mode}: killed {done.victim}, ended after {done.seconds:.1f} s{left}", flush=True)
    check_run(task, out, EPISODES)
    return kills


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50, help="in each mode [%(default)s]")
    parser.add_argument("--seed", type=int, default=0, help="of victims and moments [%(default)s]")
    parser.add_argument("--modes", nargs="+", choices=MODES, default=["sync", "async"])
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin no chain after so many")
    args = parser.parse_args()
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, local_ray(num_gpus=6) as environment:
        task = make_task(Path(folder))
        for mode in args.modes:
            kills, number, end = [], 0, start + args.minutes * 60 / len(args.modes) * (1 + args.modes.index(mode))
            undisturbed = Path(folder, f"{mode}-undisturbed")
            if mode == "sync":
                chain(task, undisturbed, mode, environment, random.Random(0), 0)
            while len(kills) < args.kills and time.monotonic() < end:
                seed = f"{args.seed} {mode} {number}"
                out, number = Path(folder, f"{mode}{number}"), number + 1
                print(f"{mode}, chain {number}, seed {seed!r}", flush=True)
                kills += chain(task, out, mode, environment, random.Random(seed), args.kills - len(kills))
                if mode == "sync":
                    check_same(undisturbed, out)
            longest = max((k.seconds for k in kills), default=0.0)
            print(f"{mode}: {len(kills)} kills in {number} runs of {EPISODES} episodes, all checks passed; ", end="")
            outlived = sum(bool(k.left) for k in kills)
            print(f"a killed run ended after {longest:.1f} s at most; {outlived} left processes behind", flush=True)


if __name__ == "__main__":
    main()
