"""The log and the dump of a run -> a measured machine: what a run on it reached, and costs that no size changes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import nnls

from openrlhf_marge.data.dump import dump_files, read_groups
from openrlhf_marge.method.metrics import GENERATED_TOKENS
from openrlhf_marge.planning.devices import devices_of
from openrlhf_marge.planning.machines import Fixed, Machine, Reached
from openrlhf_marge.planning.pilot import Pilot, files_of, visits_of
from openrlhf_marge.planning.planner import Iteration, Planner, scaled
from openrlhf_marge.planning.seconds import Clock, Seconds
from openrlhf_marge.planning.shape import ModelShape
from openrlhf_marge.runs.log import SAMPLES, TIMING, TRAIN, read_series

REFITS, HUBER, LEAST_OFF = 20, 1.5, 0.05  # nearer than that no iteration is taken for a disturbed one
PRODUCTS = 0  # the column of seconds that products take at the best
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
        pilot = Pilot(name=str(path), first=tuple(visits))
        planner = Planner(problems=len(visits), shape=shape, machine=machine, pilot=pilot)
        seconds = {phase: series[tag][number][1] for phase, tag in tags.items()}
        rows = series[TRAIN + SAMPLES][number][1]
        iteration = planner.iteration(args, visits, len(visits))
        found.append(Observed(iteration=iteration, rows=rows, seconds=seconds))
    return found


def fitted(observed: Sequence[Observed], args: Any, shape: ModelShape, machine: Machine, name: str) -> Machine:
    """The machine with what the iterations tell; ValueError where these are too few.

    Seconds of a phase are a sum with factors from 0 on (non-negative least squares of relative errors).
    """
    if len(observed) < LEAST_STEPS:
        raise ValueError(f"{len(observed)} iterations were measured; a machine takes at least {LEAST_STEPS}")
    clock = Clock(args=args, shape=shape, machine=machine, devices=devices_of(args))
    fixed, reached = machine.fixed, machine.reached
    eager = shape.layers if args.vllm.enforce_eager else 0
    bare = replace(
        machine, fixed=Fixed(**dict.fromkeys(Fixed.__dataclass_fields__, 0.0)),
        reached=Reached(log_probs=1.0, training=1.0, engine=1.0, bandwidth=reached.bandwidth),
    )  # fmt: skip
    least = [_seconds(replace(clock, machine=bare), o) for o in observed]
    engines = args.vllm.num_engines

    def columns(o: Observed) -> dict[str, list[float]]:
        i, part = o.iteration, o.rows / o.iteration.sampled.trained
        epochs, n, models = args.train.max_epochs, clock.devices.policy, clock.forward_models
        s = i.sampled
        compute = shape.forward(s.prefill_tokens + s.tokens, s.tokens, s.looked_at) / clock.devices.engines
        forward = shape.forward(i.experience.computed, i.experience.logits, i.experience.pairs) * part / n
        trained = shape.forward(i.epoch.computed, i.epoch.logits, i.epoch.pairs) * part / n * clock.backward
        return {
            "generation": [compute / machine.flops, 1, i.steps, s.tokens / engines, s.completions + s.untrained],
            "log_probs": [
                forward * models / machine.flops, 1, o.rows, i.experience.per_rank * part * shape.layers * models
            ],
            "training": [
                trained * epochs / machine.flops, 1, i.epoch.per_rank * part * epochs * shape.layers,
                i.optimizer_steps * part,
            ],
        }  # fmt: skip

    def fit(phase: str) -> list[float]:
        """Factors of the columns, by what the phase took more than with no other cost and the device at its best."""
        known = [getattr(seconds, phase) for seconds in least]
        factors = _fit([columns(o)[phase] for o in observed], [o.seconds[phase] for o in observed], known)
        factors[PRODUCTS] += 1
        return factors

    found = {phase: fit(phase) for phase in ("generation", "log_probs", "training")}
    generation, log_probs, training = found["generation"], found["log_probs"], found["training"]
    sync = float(np.mean([o.seconds["sync"] - known.sync for o, known in zip(observed, least, strict=True)]))
    return replace(
        machine,
        name=name,
        reached=replace(
            reached, log_probs=1 / log_probs[PRODUCTS], training=1 / training[PRODUCTS],
            engine=1 / generation[PRODUCTS],
        ),
        fixed=replace(
            fixed, generation=generation[1], engine_step=0.0 if eager else generation[2],
            engine_layer=generation[2] / eager if eager else 0.0, token=generation[3], completion=generation[4],
            grading=0.0, log_probs=log_probs[1], row=log_probs[2], layer=log_probs[3], training=training[1],
            layer_trained=training[2], optimizer_step=training[3], sync=0.0, tensor=max(0.0, sync) / shape.tensors,
        ),
    )  # fmt: skip


def _seconds(clock: Clock, observed: Observed) -> Seconds:
    """What the clock says of an iteration with its rows."""
    i, part = observed.iteration, observed.rows / observed.iteration.sampled.trained
    experience, epoch = (scaled(passes, part) for passes in (i.experience, i.epoch))
    sampled = replace(i.sampled, trained=observed.rows)
    return clock.of(sampled, i.steps, experience, epoch, i.optimizer_steps * part)


def _fit(columns: Sequence[Sequence[float]], seconds: Sequence[float], known: Sequence[float]) -> list[float]:
    """Factors from 0 on; iterations during which the machine was busy with something else count less.

    Those are the ones that are farther off than most: Huber's weights, found by repeated least squares.
    """
    y = np.array(seconds)
    x, target = np.array(columns, dtype=float) / y[:, None], np.maximum(y - np.array(known), 0) / y
    scale = x.max(axis=0)
    x, weights = x / np.where(scale > 0, scale, 1), np.ones(len(y))
    for _ in range(REFITS):
        factors, _ = nnls(x * weights[:, None], target * weights)
        off = np.abs(x @ factors - target)
        weights = np.sqrt(np.minimum(1, HUBER * max(np.median(off), LEAST_OFF) / np.maximum(off, LEAST_OFF)))
    return [float(f) for f in factors / np.where(scale > 0, scale, 1)]
