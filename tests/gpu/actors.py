"""OpenRLHF's patched actors on a GPU: trained, killed, resumed, and compared with unpatched ones.

    bash tests/gpu/actors.sh OUT [WHEELS]

A random model of Qwen2-0.5B's shape is trained in bfloat16 under ZeRO 2 on the completions of a dump, with and
without --marge.share_prefix. Then small models are trained beside each other: ZeRO 2 and 3, LoRA, a run that is killed
and resumed, and OpenRLHF's own GRPO with and without the patches, whose calls of torch.cuda and torch.distributed are
compared. No engine takes part; where vLLM is missing, stand_ins/engine takes its place. Meant to take 6 minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parents[2]))  # where the package is

from actor_checks import alike, all_finite, as_long, equal_calls, equal_values, near, trained
from actor_rows import QUICK, QWEN_05B, SMALL, make_material
from actor_runs import REPLAY, Ended, Job, calls, start, traced, watched_memory
from gpu_results import machine, print_assertions, row, why_skipped

HERE = Path(__file__).parent
SHARED = "--marge.share_prefix "
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
COMMITTED = Path("checkpoints", "_marge", "complete.json")
COMPILE = "from deepspeed.ops.op_builder import FusedAdamBuilder; FusedAdamBuilder().load()"
Part = tuple[
    str, list[Any], dict[str, bool]
]  # its name, the lines of its table, what was asserted and whether it held


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


def main() -> int:
    args = parse_args()
    skipped = None if args.quick else why_skipped()
    if skipped:
        print(f"tests/gpu/actors.py: {skipped}")
        return 0
    on_gpu, started, failed = torch.cuda.is_available() and not args.quick, time.perf_counter(), False
    results: dict[str, Any] = machine()
    print("\n".join(f"{name}: {value}" for name, value in results.items()), flush=True)
    with ExitStack() as stack:
        runs = Runs(args.out, where_to_run(stack, on_gpu), args.stock, on_gpu)
        for part in (beside_each_other, sharing):
            for name, lines, held in part(runs):
                print_assertions(held)
                failed |= not all(held.values())
                results[name] = {"table": lines, "assertions": held}
                results["seconds"] = round(time.perf_counter() - started)
                (args.out / "actors.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
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


def sharing(runs: Runs) -> Iterator[Part]:
    """The same completions with every row by itself and with common prefixes computed once, one after the other."""
    material = make_material(runs.out / "large", QWEN_05B if runs.on_gpu else QUICK)
    headings, widths = ("run", "seconds", "train s", "logp s", "tokens", "distinct", "card GiB"), (16, *(9,) * 6)
    print("\n" + row(headings, widths), flush=True)
    rows = 2 * material.shape.completions
    fixed = f"--train.micro_batch_size {rows} --rollout.micro_batch_size {rows} "
    tokens = rows * (material.shape.prompt + material.shape.response)
    ended, held, lines = {}, {}, []
    for name, flags, most in (("every row", fixed, None), ("shared", SHARED, tokens)):
        with watched_memory(runs.on_gpu) as memory:
            found, holds = end_all({name: runs.replay(name, material, flags, most)})
        ended, held = ended | found, held | holds
        lines += [timings(run, *memory) for run in found.values()]
        print("".join(row(line, widths) for line in lines[-1:]), flush=True)
    yield (
        "sharing",
        lines,
        held | alike(ended, "shared", "every row", 0.05) | near(ended, "shared", "every row", material),
    )


def timings(ended: Ended, memory: float | None = None) -> tuple[Any, ...]:
    """Medians of the iterations after the first one, in which kernels are compiled."""

    def seconds(phase: str) -> float:
        values = [value for _, value in ended.series[f"train/timing/{phase}"]]
        return statistics.median(values[1:] or values)

    tokens = [ended.series.get(f"train/marge/trained_tokens{suffix}") for suffix in ("", "_distinct")]
    counts = [None if not series else sum(value for _, value in series) for series in tokens]
    return ended.name, ended.seconds, seconds("ppo_train"), seconds("make_experience"), *counts, memory


def beside_each_other(runs: Runs) -> Iterator[Part]:
    """Small models, all at once on a GPU; on a CPU one after the other, and without the runs that need one."""
    material, tokens = make_material(runs.out / "small", SMALL if runs.on_gpu else QUICK), 4096
    save = f"{SHARED} --ckpt.save_steps 1 --ckpt.max_num 9 "
    flags = {
        "ZeRO 2": SHARED,
        "ZeRO 3": f"{SHARED} --ds.zero_stage 3 --marge.reference episode ",
        "LoRA": f"{SHARED} --ds.lora.rank 8 --actor.adam.lr 1e-3 ",
    }
    jobs = {"killed": runs.replay("killed", material, save, tokens)}
    killed_in_time = runs.on_gpu or jobs["killed"].kill_after(COMMITTED)
    for name, more in flags.items():
        jobs[name] = runs.replay(name, material, more, tokens)
        if not runs.on_gpu:
            jobs[name].wait()
    if runs.on_gpu:
        jobs |= {name: runs.grpo(name, material, getattr(runs, name)) for name in ("stock", "patched")}
        killed_in_time = jobs["killed"].kill_after(COMMITTED)
    del jobs["killed"]
    jobs["resumed"] = runs.replay("resumed", material, f"{save} --ckpt.load_enable ", tokens, "killed")
    ended, held = end_all(jobs)
    held["killed after its first checkpoint and before its end"] = killed_in_time
    held |= alike(ended, "ZeRO 3", "ZeRO 2", 0.02) | near(ended, "resumed", "ZeRO 2", material)
    yield "beside each other", [], held | trained(ended, "LoRA") | as_long(ended, "resumed", "ZeRO 2")
    if runs.on_gpu:
        stock, patched = (calls(runs.out / f"{name}_calls") for name in ("stock", "patched"))
        yield "patches", [], equal_calls(stock, patched) | equal_values(ended, "patched", "stock")


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


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="gets runs and actors.json")
    parser.add_argument("--stock", default="", metavar="PATH", help="PYTHONPATH with OpenRLHF as it is published")
    parser.add_argument("--quick", action="store_true", help="a tiny model on this machine's CPU")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
