"""A whole rollout and the training on it: what it samples, how it is batched, and how long each part takes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from openrlhf_marge.planning.batches import MOST_ROWS, Passes, Rows
from openrlhf_marge.planning.devices import devices_of
from openrlhf_marge.planning.machines import Machine
from openrlhf_marge.planning.memory import Memory
from openrlhf_marge.planning.phases import Seconds
from openrlhf_marge.planning.sampling import SEQUENCES, Sampled, engine_steps, sampled_of
from openrlhf_marge.planning.seconds import Clock
from openrlhf_marge.planning.shape import ModelShape
from openrlhf_marge.planning.visits import SampledVisit, rows_of


@dataclass(frozen=True, kw_only=True)
class Iteration:
    """What it has to do and how long that takes."""

    sampled: Sampled
    steps: int  # of each engine
    experience: Passes
    epoch: Passes
    distinct: float  # tokens of an epoch within the micro-batches of --marge.share_prefix; of stock, within its own
    optimizer_steps: float
    seconds: Seconds


def iteration_of(
    args: Any, shape: ModelShape, machine: Machine, visits: Sequence[SampledVisit], problems: int
) -> Iteration:
    """Of so many problems like those of the visits, under the flags of a launch."""
    devices = devices_of(args)
    memory = Memory(args=args, shape=shape, machine=machine, devices=devices)
    engines = args.vllm.num_engines
    sampled = sampled_of(visits, _block(args, machine)).times(problems / len(visits))
    steps = engine_steps(visits, math.ceil(problems / engines), _sequences(memory, sampled))
    rows = _rows(args, visits, problems)
    experience, epoch = (p.times(sampled.trained / len(rows.ids)) for p in (rows.log_probs(), rows.training()))
    shared = epoch if rows.shares else rows.sharing().training().times(sampled.trained / len(rows.ids))
    optimizer_steps = sampled.trained / args.train.batch_size * args.train.max_epochs
    clock = Clock(args=args, shape=shape, machine=machine, devices=devices)
    return Iteration(
        sampled=sampled, steps=steps, experience=experience, epoch=epoch, optimizer_steps=optimizer_steps,
        distinct=shared.distinct,
        seconds=clock.of(sampled, steps, experience, epoch, optimizer_steps),
    )  # fmt: skip


def _rows(args: Any, visits: Sequence[SampledVisit], problems: int) -> Rows:
    """Enough rows of the problems to look at; ValueError where there are none."""
    trained = [visit for visit in visits if visit.actions]
    if not trained:
        raise ValueError("no completion of the pilot would be trained on; explore more problems for it")
    per_problem = sum(len(visit.actions) for visit in trained) / len(trained)
    share = len(trained) / len(visits)
    looked_at = min(math.ceil(problems * share), max(1, round(MOST_ROWS / per_problem)))
    return Rows(*rows_of(trained, looked_at), args)


def _block(args: Any, machine: Machine) -> int | None:
    """Of the engines' prefix cache; engines that are deterministic on a CPU have none."""
    is_off = machine.is_cpu and args.train.full_determinism_enable
    return machine.cache_block if args.vllm.enable_prefix_caching and not is_off else None


def _sequences(memory: Memory, sampled: Sampled) -> int:
    """That an engine computes at once: as many as its KV cache holds, up to its limit."""
    context = sampled.looked_at / sampled.tokens
    return max(1, min(SEQUENCES, int(memory.cached_tokens / context)))
