"""What actors.py and whole_stack.py share: where they run, what they start, how they report."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch

from actor_checks import all_finite
from actor_runs import REPLAY, Ended, Job, start, traced
from gpu_results import machine, print_assertions, why_skipped

HERE = Path(__file__).parent
# Dynamic batches are packed, and OpenRLHF packs only where there are engines: the stand-in idles.
DYNAMIC = "--train.dynamic_batch_enable --train.max_tokens_per_gpu {} --rollout.max_tokens_per_gpu {} "
DYNAMIC += "--vllm.num_engines 1 --train.colocate_all "
# OpenRLHF's own GRPO; the stand-in's weights arrive through CUDA IPC, so the engine is on the actors' GPU.
GRPO = "--vllm.num_engines 1 --train.colocate_all --algo.advantage.estimator group_norm --train.batch_size 16 "
ON_GPU = {
    "RAY_ADDRESS": "local",
    "RAY_prestart_worker_first_driver": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "TOKENIZERS_PARALLELISM": "false",
    "HF_HUB_OFFLINE": "1",
    "OMP_NUM_THREADS": "2",
}
COMPILE = "from deepspeed.ops.op_builder import FusedAdamBuilder; FusedAdamBuilder().load()"
# Its name, the lines of its table, what was asserted and whether it held.
Part = tuple[str, list[Any], dict[str, bool]]


class Runs:
    """Starts runs in ``out``; OpenRLHF is patched but for what has ``stock`` as its environment."""

    def __init__(self, out: Path, environment: dict[str, str], stock: str, on_gpu: bool) -> None:
        self.out, self.on_gpu, self.patched = out, on_gpu, environment
        self.stock = environment | {"PYTHONPATH": stock}

    def replay(self, name: str, material: Any, flags: str, tokens: int | None = None, folder: str = "") -> Job:
        """A guided run of the material's dump; on a GPU in micro-batches of ``tokens`` tokens, where given."""
        flags = REPLAY.format(material=material.folder) + flags
        if tokens and self.on_gpu:
            flags += DYNAMIC.format(tokens, tokens)
        return start(name, material, self.out / (folder or name).replace(" ", "_"), flags, self.patched, self.on_gpu)

    def guided(self, name: str, material: Any, flags: str) -> Job:
        """A run with engines, and no dump."""
        return start(name, material, self.out / name.replace(" ", "_"), flags, self.patched, self.on_gpu)

    def grpo(self, name: str, material: Any, environment: dict[str, str]) -> Job:
        """A run of OpenRLHF's GRPO with the engine's stand-in."""
        packages = [HERE / "stand_ins" / name for name in ("tracer", "flash_attn", "engine")]
        environment = traced(environment, self.out / f"{name}_calls", packages)
        return start(name, material, self.out / name, GRPO, environment, self.on_gpu)


def carry_out(name: str, args: argparse.Namespace, stock: str, parts: Callable[[Runs], Iterable[Part]]) -> int:
    """Run and report ``parts``, also to ``args.out``/NAME.json; 0 where all held or there is no GPU, else 1."""
    skipped = None if args.quick else why_skipped()
    if skipped:
        print(f"tests/gpu/{name}.py: {skipped}")
        return 0
    on_gpu, started, failed = not args.quick, time.perf_counter(), False
    results: dict[str, Any] = machine()
    print("\n".join(f"{key}: {value}" for key, value in results.items()), flush=True)
    with ExitStack() as stack:
        runs = Runs(args.out, where_to_run(stack, on_gpu), stock, on_gpu)
        for part, lines, held in parts(runs):
            print_assertions(held)
            failed |= not all(held.values())
            results[part] = {"table": lines, "assertions": held}
            results["seconds"] = round(time.perf_counter() - started)
            (args.out / f"{name}.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    print(f"{results['seconds']} s")
    return int(failed)


def where_to_run(stack: ExitStack, on_gpu: bool) -> dict[str, str]:
    """The environment of the runs: each has a cluster of its own on a GPU; one serves all of them on a CPU."""
    if on_gpu:
        environment = dict(os.environ) | ON_GPU
        # DeepSpeed 0.19.6 cannot sort a list that has "9.0a" in it, as images for Hopper cards have.
        environment["TORCH_CUDA_ARCH_LIST"] = ".".join(map(str, torch.cuda.get_device_capability()))
        compiling = subprocess.Popen([sys.executable, "-c", COMPILE], env=environment)  # the runs wait for it
        stack.callback(compiling.wait)
        return environment
    if "RAY_ADDRESS" in os.environ:
        return dict(os.environ)
    from openrlhf_marge.host.standalone.local_ray import local_ray

    return stack.enter_context(local_ray())


def end_all(jobs: dict[str, Job]) -> tuple[dict[str, Ended], dict[str, bool]]:
    """The runs that ended well, and for each job whether it did; why one did not is printed."""
    ended, held = {}, {}
    for name, job in jobs.items():
        try:
            ended[name] = job.end()
        except RuntimeError as error:
            print(error, flush=True)
        held[f"{name} ended well, and all that it logged is finite"] = name in ended and all_finite(ended[name])
    return ended, held
