"""Many real steps in one run on the tiny model: memory, open files and processes over the steps, and checkpoints.

    python tests/benchmarks/soak.py [--steps 1000] [--minutes 20] [--out FILE.csv]

Every process of the run (driver, trainer, policy, engine with its core, Ray's) is looked at every few seconds: its
PSS, open files and threads. Printed is for each how much its memory changed from the first quarter after --settled
steps to the last quarter, whether that is within 5 %, and what is left when the run has ended.
"""

from __future__ import annotations

import argparse
import csv
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import astuple, dataclass, fields
from pathlib import Path

import psutil

from openrlhf_marge.host.standalone.local_ray import local_ray
from openrlhf_marge.runs.warm_client import warmed

sys.path.append(str(Path(__file__).parents[1]))  # helpers of the tests

from stack import make_task

SECONDS, FLAT, KEPT = 5.0, 0.05, 2
# Small steps: 4 problems of 2 states with 4 completions, two optimizer steps.
FLAGS = f"""--experience_maker marge --marge.guidance_rule random --marge.n_candidates 4 --marge.split tokens
    --marge.n_states 2 --rollout.batch_size 4 --rollout.max_new_tokens 16 --rollout.micro_batch_size 16
    --train.micro_batch_size 16 --ckpt.save_steps 50 --ckpt.max_num {KEPT} --logger.logging_steps 10
    --actor.adam.lr 1e-6"""
PROBLEMS, PER_STEP = 400, 4
STEP = re.compile(rb"Global step (\d+):")


@dataclass(frozen=True)
class Look:
    """At one process; ``pss`` in MiB."""

    seconds: float
    step: int
    role: str
    pid: int
    pss: float
    files: int
    threads: int


def looks(seconds: float, step: int) -> Iterator[Look]:
    for process in psutil.Process().children(recursive=True):
        try:
            words = process.cmdline()
            if process.status() == psutil.STATUS_ZOMBIE or not words:
                continue
            pss = process.memory_full_info().pss / 2**20
            yield Look(seconds, step, role(words), process.pid, pss, process.num_fds(), process.num_threads())
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue


def role(words: list[str]) -> str:
    """What a process is, without what it is doing just now."""
    if found := re.match(r"(ray::\w+|VLLM::\w+)", words[0]):
        return found[1]
    if "openrlhf.cli.train_ppo_ray" in words:
        return "driver"
    modules = [words[i + 1] for i, word in enumerate(words[:-1]) if word == "-m"]
    return modules[0].rpartition(".")[2] if modules else Path(words[0]).name


def steps_of(log: Path) -> int:
    found = STEP.findall(log.read_bytes())
    return int(found[-1]) if found else 0


def changes(seen: list[Look], settled: int) -> Iterator[tuple[str, int, float, float, int, int]]:
    """Role, pid, PSS and open files of the first and the last quarter of what was seen after so many steps."""
    by_process = defaultdict(list)
    for look in seen:
        if look.step >= settled:
            by_process[look.role, look.pid].append(look)
    for (name, pid), of_one in sorted(by_process.items()):
        if len(of_one) >= 8:
            quarter = len(of_one) // 4
            first, last = of_one[:quarter], of_one[-quarter:]
            pss = [statistics.median(look.pss for look in part) for part in (first, last)]
            files = [max(look.files for look in part) for part in (first, last)]
            yield name, pid, *pss, *files


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--settled", type=int, default=100, help="steps after which memory must be flat [%(default)s]")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="end the run after so many")
    parser.add_argument("--out", type=Path, help="CSV file of everything seen")
    args = parser.parse_args()
    seen: list[Look] = []
    with tempfile.TemporaryDirectory() as folder, local_ray() as environment:
        task, out = make_task(Path(folder), PROBLEMS), Path(folder, "run")
        before = {p.pid for p in psutil.Process().children(recursive=True)}
        episodes = -(-args.steps * PER_STEP // PROBLEMS)
        flags = [*FLAGS.split(), "--train.num_episodes", str(episodes)]
        words = [sys.executable, "-m", "openrlhf.cli.train_ppo_ray", *task.flags(out), *flags]
        log, most, start = Path(folder, "log"), 0, time.monotonic()
        with log.open("wb") as sink:
            run = subprocess.Popen(warmed(words, environment), env=environment, stdout=sink, stderr=subprocess.STDOUT)
            while run.poll() is None and time.monotonic() - start < 60 * args.minutes:
                seen += looks(time.monotonic() - start, steps_of(log))
                most = max(most, len(list((out / "checkpoints" / "_actor").glob("global_step*"))))
                time.sleep(SECONDS)
            stopped = run.poll() is None
            run.terminate()
            run.wait(timeout=60)
        seconds, steps = time.monotonic() - start, steps_of(log)
        time.sleep(30)  # Ray keeps idle workers for a while
        left = [look for look in looks(0, 0) if look.pid not in before and not look.role.startswith("ray::IDLE")]
        states = len(list((out / "checkpoints" / "_marge").glob("state_*")))
        if run.returncode and not stopped:
            print(log.read_text(errors="replace")[-3000:])
    if args.out:
        with args.out.open("w", newline="") as file:
            csv.writer(file).writerows([[f.name for f in fields(Look)], *map(astuple, seen)])
    ended = "stopped" if stopped else f"ended with exit status {run.returncode}"
    print(f"{steps} steps in {seconds:.0f} s, {ended}; ", end="")
    print(f"at most {most} checkpoints (--ckpt.max_num {KEPT}), {states} states")
    for name, pid, first, last, files, files_after in changes(seen, args.settled):
        change = last / first - 1
        verdict = "flat" if change <= FLAT else "NOT FLAT"
        memory = f"{first:8.1f} -> {last:8.1f} MiB ({change:+.1%}, {verdict})"
        print(f"{name:28} {pid:7} {memory}, files {files} -> {files_after}")
    print(f"processes left after the end: {[(look.role, look.pid) for look in left]}")


if __name__ == "__main__":
    main()
