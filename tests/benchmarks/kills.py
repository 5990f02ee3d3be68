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
import sys
import tempfile
import time
from pathlib import Path

HOOKS = Path(__file__).parent / "hooks"
# Before Ray starts, as its workers inherit it.
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(HOOKS), os.environ.get("PYTHONPATH", "")]))

from openrlhf_marge.host.standalone.local_ray import local_ray

sys.path.append(str(Path(__file__).parents[1]))  # helpers of the tests

from kill_checks import check_run, check_same
from kill_launches import launch
from stack import PORT_TAKEN, TinyTask, make_task

PER_CHAIN = 5
EPISODES = 6
COMMON = f"""--experience_maker marge --marge.guidance_rule random --marge.n_candidates 4 --marge.split tokens
    --marge.n_states 3 --ckpt.save_steps 1 --ckpt.max_num 2 --ckpt.load_enable --train.num_episodes {EPISODES}
    --logger.logging_steps 1"""
MODES = {
    "sync": "--train.full_determinism_enable",
    "async": "--train.async_enable",
    "partial": "--train.async_enable --train.partial_rollout_enable",
}


def command(task: TinyTask, out: Path, mode: str) -> list[str]:
    flags = f"{COMMON} {MODES[mode]} --marge.dump_dir {out}/dump".split()
    return [sys.executable, "-m", "openrlhf.cli.train_ppo_ray", *task.flags(out), *flags]


def chain(task: TinyTask, out: Path, mode: str, environment: dict[str, str], rng: random.Random, most: int) -> list:
    """The kills of one run, which has then ended by itself and been checked."""
    words, kills = command(task, out, mode), []
    while True:
        done = launch(words, out, environment, rng if len(kills) < min(most, PER_CHAIN) else None, mode)
        if done.victim is None and done.returncode and PORT_TAKEN in done.log:
            print(f"  {mode}: something took OpenRLHF's free port before OpenRLHF did; the run goes on", flush=True)
        elif done.victim is None:
            if done.returncode:
                raise RuntimeError(f"{mode}: a run that nothing killed failed:\n{done.log}")
            break
        else:
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
