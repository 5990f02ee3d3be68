"""Guided iterations with vLLM on the GPU: do engine and trainer have the same weights before and after each sync?

    bash tests/gpu/stack.sh OUT

A random model of four layers is trained by MARGE for three iterations: on one GPU with all colocated, asleep in
turns, its weights sent through CUDA IPC; with two GPUs also apart, its weights sent through NCCL. The learning rate is
so high that weights of the iteration before would be found out. Needs the whole stack; meant to take 4 minutes.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[2]))  # where the package is

from actor_rows import QUICK, SMALL, Material, make_material
from actor_runs import Ended
from actor_session import Part, Runs, carry_out, end_all

# A token whose log-probs of engine and trainer differ by more than a tenth is counted in is_filter_ratio.
MARGE = """--experience_maker marge --marge.split tokens --marge.n_states 3 --marge.n_candidates 8 --vllm.num_engines 1
    --algo.advantage.is_correction_level token --algo.advantage.is_correction_threshold 0.9 1.1
    --vllm.gpu_memory_utilization 0.3 --vllm.enforce_eager --actor.adam.lr {rate} """
IN_TURNS = "--train.colocate_all --vllm.enable_sleep --ds.enable_sleep "
RATE = 1e-3
MOST_DIFFERING = 0.15  # of the tokens; bfloat16 of a random model, whose log-probs are rounded by 0.1 on average


def main() -> int:
    return carry_out("whole_stack", parse_args(), "", parts)


def parts(runs: Runs) -> Iterator[Part]:
    """Each way to send the weights that this machine has."""
    material = make_material(runs.out / "made", SMALL if runs.on_gpu else QUICK)
    if runs.on_gpu:
        yield from synced(runs, material, "CUDA IPC, in turns", IN_TURNS)
    if not runs.on_gpu or torch.cuda.device_count() > 1:
        yield from synced(runs, material, "NCCL, apart" if runs.on_gpu else "gloo, apart", "")


def synced(runs: Runs, material: Material, name: str, flags: str) -> Iterator[Part]:
    """Three iterations whose weights move far."""
    job = runs.guided(name, material, MARGE.format(rate=RATE) + flags)
    ended, held = end_all({name: job})
    for run in ended.values():
        held |= same_weights(run)
    tags = ("is_filter_ratio", "vllm_kl", "actor_grad_norm")
    yield name, [{tag: run.values(tag) for tag in tags} for run in ended.values()], held


def same_weights(run: Ended) -> dict[str, bool]:
    """Tokens of each iteration, the first without and the others after a sync, whose log-probs differ."""
    shares = run.values("is_filter_ratio")
    sentence = f"{run.name}: in {len(shares)} iterations at most {max(shares):.3f} of the tokens have log-probs of "
    sentence += f"engine and trainer that differ by more than a tenth (at most {MOST_DIFFERING})"
    return {sentence: len(shares) == 3 and max(shares) <= MOST_DIFFERING}


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="gets runs and whole_stack.json")
    parser.add_argument("--quick", action="store_true", help="a tiny model on this machine's CPU")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
