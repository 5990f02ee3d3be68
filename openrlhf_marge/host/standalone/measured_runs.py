"""Short trainings with the flags of a launch, whose log and dump tell what a machine does (``cli/plan.py --measure``)."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path

from openrlhf_marge.host.standalone.local_ray import local_ray, needs_local_ray
from openrlhf_marge.runs.cpu import environment
from openrlhf_marge.runs.processes import run_logged

ROLLOUTS, EPISODES, SMALLER = 2, 2, 3  # of a run; the second run has rollouts a third as large, and more of them


@contextmanager
def stack_environment() -> Iterator[dict[str, str]]:
    """Of commands on the Ray cluster that is there, or on one of our own."""
    with local_ray() if needs_local_ray() else nullcontext(environment()) as variables:
        yield variables


def measured_runs(
    flags: Sequence[str], problems: int, folder: Path, variables: dict[str, str], show: Callable[[str], object]
) -> list[Path]:
    """Two runs in ``folder``, each with tensorboard/ and dump/; RuntimeError when one fails.

    The first has rollouts of so many ``problems``. Both visit their problems twice, so that there are iterations with
    candidates and without.
    """
    shutil.rmtree(folder, ignore_errors=True)
    small = max(1, problems // SMALLER)
    sizes = ((problems, ROLLOUTS * problems), (small, SMALLER * ROLLOUTS * small))
    runs = []
    for number, (batch, samples) in enumerate(sizes, start=1):
        run = folder / f"run_{number}"
        own = f"""
            --rollout.batch_size {batch} --data.max_samples {samples} --train.num_episodes {EPISODES}
            --logger.logging_steps 1 --ckpt.save_steps -1 --eval.steps -1
        """.split()
        own += ["--marge.dump_dir", f"{run}/dump", "--logger.tensorboard_dir", f"{run}/tensorboard"]
        own += ["--ckpt.output_dir", f"{run}/model", "--ckpt.path", f"{run}/checkpoints"]
        command = [sys.executable, "-u", "-m", "openrlhf.cli.train_ppo_ray", *flags, *own]
        run_logged(command, run / "train.log", variables, show)
        shutil.rmtree(run / "model", ignore_errors=True)
        runs.append(run)
    return runs
