"""OpenRLHF's patched actors on a GPU: trained, killed, resumed, and compared with unpatched ones.

    bash tests/gpu/actors.sh OUT [WHEELS]

A random model of Qwen2-0.5B's shape is trained in bfloat16 under ZeRO 2 on the completions of a dump, with and
without --marge.share_prefix. Then small models are trained beside each other: ZeRO 2 and 3, LoRA, a run that is killed
and resumed, and OpenRLHF's own GRPO with and without the patches, whose calls of torch.cuda and torch.distributed are
compared. No engine takes part; where vLLM is missing, stand_ins/engine takes its place. Meant to take 6 minutes.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))  # where the package is

from actor_checks import alike, as_long, equal_calls, equal_values, near, trained
from actor_rows import QUICK, QWEN_05B, SMALL, make_material
from actor_runs import Ended, calls, watched_memory
from actor_session import Part, Runs, carry_out, end_all
from gpu_results import row

SHARED = "--marge.share_prefix "
COMMITTED = Path("checkpoints", "_marge", "complete.json")


def main() -> int:
    args = parse_args()
    return carry_out("actors", args, args.stock, parts)


def parts(runs: Runs) -> Iterator[Part]:
    """What takes no clock first."""
    yield from beside_each_other(runs)
    yield from sharing(runs)


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
    held |= alike(ended, "shared", "every row", 0.05) | near(ended, "shared", "every row", material)
    yield "sharing", lines, held


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
    flags = {"ZeRO 2": SHARED}
    if runs.on_gpu:
        flags["ZeRO 3"] = f"{SHARED} --ds.zero_stage 3 --marge.reference episode "
        flags["LoRA"] = f"{SHARED} --ds.lora.rank 8 --actor.adam.lr 1e-3 "
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
    held |= near(ended, "resumed", "ZeRO 2", material) | as_long(ended, "resumed", "ZeRO 2")
    if runs.on_gpu:
        held |= alike(ended, "ZeRO 3", "ZeRO 2", 0.02) | trained(ended, "LoRA")
    yield "beside each other", [], held
    if runs.on_gpu:
        stock, patched = (calls(runs.out / f"{name}_calls") for name in ("stock", "patched"))
        yield "patches", [], equal_calls(stock, patched) | equal_values(ended, "patched", "stock")


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="gets runs and actors.json")
    parser.add_argument("--stock", default="", metavar="PATH", help="PYTHONPATH with OpenRLHF as it is published")
    parser.add_argument("--quick", action="store_true", help="a tiny model on this machine's CPU")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
