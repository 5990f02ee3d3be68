"""Short trainings with the flags of a launch; log and dump tell what a machine does (``cli/plan.py --measure``)."""

from __future__ import annotations

import copy
import math
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from openrlhf_marge.host.rollout.data import data_ranks
from openrlhf_marge.host.standalone.local_ray import local_ray, needs_local_ray
from openrlhf_marge.runs.cpu import environment
from openrlhf_marge.runs.processes import run_logged

EPISODES = 2  # so that there are iterations with candidates and without
# Of a run: rollouts of an episode, by how much they are smaller than the launch's, and by how much batches and
# micro-batches are. What no size changes shows in small ones, what every token costs in large ones.
SIZES = ((2, 1, 1), (4, 8, 4))


@contextmanager
def stack_environment() -> Iterator[dict[str, str]]:
    """Of commands on the Ray cluster that is there, or on one of our own."""
    with local_ray() if needs_local_ray() else nullcontext(environment()) as variables:
        yield variables


def sized(args: Any, problems: int) -> list[tuple[Any, int]]:
    """The launch as it is measured, with rollouts of up to so many ``problems``, and the problems of an episode."""
    launches = [(_smaller(args, problems // by, batches), rollouts) for rollouts, by, batches in SIZES]
    return [(launch, rollouts * launch.rollout.batch_size) for launch, rollouts in launches]


def _smaller(args: Any, problems: int, by: int) -> Any:
    """The launch with smaller rollouts, batches and micro-batches, as far as these must be whole."""
    launch = copy.deepcopy(args)
    n, ranks = args.rollout.n_samples_per_prompt, data_ranks(args)
    for group, own in ((launch.train, args.train), (launch.rollout, args.rollout)):
        group.micro_batch_size = max(1, own.micro_batch_size // by)
        if own.max_tokens_per_gpu:
            group.max_tokens_per_gpu = max(args.data.max_len, own.max_tokens_per_gpu // by)
    unit = math.lcm(n, launch.train.micro_batch_size * ranks, launch.rollout.micro_batch_size * ranks)
    if by > 1:
        launch.train.batch_size = max(1, args.train.batch_size // by // unit) * unit
    # OpenRLHF wants a micro-batch of s_0 for each rank.
    launch.rollout.batch_size = max(1, problems, math.ceil(launch.rollout.micro_batch_size * ranks / n))
    return launch


def measured_runs(
    flags: Sequence[str], launches: Sequence[tuple[Any, int]], folder: Path, variables: dict[str, str],
    show: Callable[[str], object],
) -> list[Path]:  # fmt: skip
    """One run for each of ``sized``, in ``folder``, each with tensorboard/ and dump/; RuntimeError when one fails."""
    shutil.rmtree(folder, ignore_errors=True)
    runs = []
    for number, (launch, samples) in enumerate(launches, start=1):
        run = folder / f"run_{number}"
        own = f"""
            --rollout.batch_size {launch.rollout.batch_size} --train.batch_size {launch.train.batch_size}
            --rollout.micro_batch_size {launch.rollout.micro_batch_size}
            --train.micro_batch_size {launch.train.micro_batch_size}
            --train.max_tokens_per_gpu {launch.train.max_tokens_per_gpu}
            --data.max_samples {samples} --train.num_episodes {EPISODES}
            --logger.logging_steps 1 --ckpt.save_steps -1 --eval.steps -1
        """.split()
        if launch.rollout.max_tokens_per_gpu:
            own += ["--rollout.max_tokens_per_gpu", str(launch.rollout.max_tokens_per_gpu)]
        own += ["--marge.dump_dir", f"{run}/dump", "--logger.tensorboard_dir", f"{run}/tensorboard"]
        own += ["--ckpt.output_dir", f"{run}/model", "--ckpt.path", f"{run}/checkpoints"]
        command = [sys.executable, "-u", "-m", "openrlhf.cli.train_ppo_ray", *flags, *own]
        run_logged(command, run / "train.log", variables, show)
        shutil.rmtree(run / "model", ignore_errors=True)
        runs.append(run)
    return runs
