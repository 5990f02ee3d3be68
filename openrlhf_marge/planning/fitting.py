"""The log and the dump of a run -> a measured machine: what a run on it reached, and costs that no size changes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import nnls

from openrlhf_marge.data.dump import dump_files
from openrlhf_marge.data.dump_reading import read_groups
from openrlhf_marge.method.metrics import GENERATED_TOKENS
from openrlhf_marge.planning.devices import devices_of
from openrlhf_marge.planning.iteration import Iteration, iteration_of
from openrlhf_marge.planning.machines import Fixed, Machine, Reached
from openrlhf_marge.planning.phases import Seconds
from openrlhf_marge.planning.pilot import files_of, visits_of
from openrlhf_marge.planning.seconds import Clock
from openrlhf_marge.planning.shape import ModelShape
from openrlhf_marge.runs.log import SAMPLES, TIMING, TRAIN, read_series

REFITS = 20
# Of each phase: the fixed costs that are fitted, and the share of the device's FLOP/s.
COSTS = {
    "generation": ("generation", "engine_step", "engine_layer", "token", "completion"),
    "log_probs": ("log_probs", "row", "layer"),
    "training": ("training", "layer_trained", "optimizer_step"),
    "sync": ("sync", "tensor"),
}
SHARES = {"generation": "engine", "log_probs": "log_probs", "training": "training"}
ROUNDING = 1e-6  # of numbers in the log
LEAST_STEPS = 4  # iterations that tell what does not depend on their size
# OpenRLHF's names of the phases.
LOGGED = {"generation": "generation", "log_probs": "make_experience", "training": "ppo_train", "sync": "broadcast"}


@dataclass(frozen=True, kw_only=True)
class Observed:
    """An iteration as it was: what it had to do, rows that were trained on, and its seconds by phase."""

    iteration: Iteration
    rows: float
    seconds: Mapping[str, float]


def observe(run: Path, args: Any, shape: ModelShape, machine: Machine) -> list[Observed]:
    """The iterations of a run with ``tensorboard/`` and ``dump/``; ValueError where these do not go together.

    Iterations after rollouts that filled no training batch are left out: of these the log has no seconds.
    """
    series = read_series(run / "tensorboard")
    files = iter(dump_files(run / "dump"))
    tags = {phase: TRAIN + TIMING + name for phase, name in LOGGED.items()}
    found = []
    for number, (step, tokens) in enumerate(series[TRAIN + GENERATED_TOKENS]):
        visits, of_step, sampled = [], 0, 0.0
        while sampled < tokens * (1 - ROUNDING):
            path = next(files, None)
            if path is None:
                raise ValueError(f"{run}: the dump has fewer tokens than the log tells of step {step}; measure again")
            visits = list(visits_of(*map(read_groups, files_of(path))))
            sampled += sum(sum(s.lengths) for v in visits for s in (*v.states, *v.untrained))
            of_step += 1
        if of_step > 1:
            continue
        seconds = {phase: series[tag][number][1] for phase, tag in tags.items()}
        rows = series[TRAIN + SAMPLES][number][1]
        iteration = iteration_of(args, shape, machine, visits, len(visits))
        found.append(Observed(iteration=iteration, rows=rows, seconds=seconds))
    return found


def fitted(observed: Sequence[Observed], args: Any, shape: ModelShape, machine: Machine, name: str) -> Machine:
    """The machine with what the iterations tell; ValueError where these are too few.

    The seconds of a phase are those of the device at its best, and a sum of what each cost adds, with factors from 0
    on. What a cost adds is what the clock says of a machine that has it alone.
    """
    if len(observed) < LEAST_STEPS:
        raise ValueError(f"{len(observed)} iterations were measured; a machine takes at least {LEAST_STEPS}")
    clock = Clock(args=args, shape=shape, machine=machine, devices=devices_of(args))
    best = Reached(log_probs=1.0, training=1.0, engine=1.0, bandwidth=machine.reached.bandwidth)
    bare = replace(machine, fixed=Fixed(**dict.fromkeys(Fixed.__dataclass_fields__, 0.0)), reached=best)
    least = [_seconds(clock, bare, o) for o in observed]
    fixed: dict[str, float] = {}
    reached: dict[str, float] = {}
    for phase, costs in COSTS.items():
        costs = [cost for cost in costs if cost != ("engine_step" if args.vllm.enforce_eager else "engine_layer")]
        machines = [replace(bare, fixed=replace(bare.fixed, **{cost: 1.0})) for cost in costs]
        if share := SHARES.get(phase):
            machines.append(replace(bare, reached=replace(best, **{share: 0.5})))
        known = [getattr(seconds, phase) for seconds in least]
        columns = [
            [getattr(_seconds(clock, m, o), phase) - k for m in machines] for o, k in zip(observed, known, strict=True)
        ]
        factors = _fit(columns, [o.seconds[phase] for o in observed], known)
        fixed |= dict(zip(costs, factors, strict=False))
        if share:
            reached[share] = 1 / (1 + factors[-1])
    return replace(
        machine, name=name, fixed=replace(bare.fixed, **fixed), reached=replace(machine.reached, **reached)
    )  # fmt: skip


def _seconds(clock: Clock, machine: Machine, observed: Observed) -> Seconds:
    """What the clock says of an iteration with its rows on this machine."""
    i, part = observed.iteration, observed.rows / observed.iteration.sampled.trained
    experience, epoch = (passes.times(part) for passes in (i.experience, i.epoch))
    sampled = replace(i.sampled, trained=observed.rows)
    return replace(clock, machine=machine).of(sampled, i.steps, experience, epoch, i.optimizer_steps * part)


def _fit(columns: Sequence[Sequence[float]], seconds: Sequence[float], known: Sequence[float]) -> list[float]:
    """Factors from 0 on, by least squares of errors relative to what the factors found before say.

    Relative to what was measured, slow iterations would count less than fast ones, and all predictions be too low.
    """
    x, y, least = np.array(columns, dtype=float), np.array(seconds), np.array(known)
    scale = x.max(axis=0)
    x, expected = x / np.where(scale > 0, scale, 1), y
    for _ in range(REFITS):
        factors, _ = nnls(x / expected[:, None], np.maximum(y - least, 0) / expected)
        expected = least + x @ factors
    return [float(f) for f in factors / np.where(scale > 0, scale, 1)]
