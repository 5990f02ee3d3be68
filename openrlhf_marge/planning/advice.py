"""What binds a run, and which one flag would help most: the launch is planned again with each."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from openrlhf_marge.method.schedule import TOLERANCE, can_miss_plan, planned_steps
from openrlhf_marge.planning.changes import CHANGES, FRESH, SHARE, Change
from openrlhf_marge.planning.devices import devices_of, method_of
from openrlhf_marge.planning.phases import PHASES
from openrlhf_marge.planning.planner import Planner, RunPlan
from openrlhf_marge.planning.variants import with_fresh_guidance

LEAST_GAIN = 0.03  # share of the device-hours
NAMES = {
    "engine": "the engines bind (generation)", "grader": "the grader binds (generation)",
    "driver": "the one process that hands out problems binds (generation)",
    "log_probs": "the pass for log-probs binds", "training": "training binds", "sync": "the weight sync binds",
}  # fmt: skip


def advice(planner: Planner, args: Any, plan: RunPlan) -> Iterator[str]:
    """What binds; the flag that would help most, and one that changes the method where it helps more still."""
    yield binds(plan)
    if sentence := schedule_sentence(planner, args, plan):
        yield sentence
    fitting = [(change, other) for change, other in tried(planner, args) if other.misfit is None]
    best = min((pair for pair in fitting if pair[0].same_method), key=lambda p: p[1].device_hours, default=None)
    if plan.misfit is not None:
        if best is None:
            yield "no single flag that is tried here makes it fit; more GPUs, or a smaller --data.max_len, do"
        else:
            yield f"it fits with {best[0].flags}: {best[1].device_hours:,.1f} {planner.machine.noun}-hours"
        return
    gain = 1 - best[1].device_hours / plan.device_hours if best else 0.0
    yield (
        f"the flag that would help most: {best[0].flags}, {gain:.0%} fewer {planner.machine.noun}-hours"
        if best and gain >= LEAST_GAIN
        else f"no flag that is tried here would save 3 % of the {planner.machine.noun}-hours"
    )
    for change, other in fitting:
        saved = 1 - other.device_hours / plan.device_hours
        if not change.same_method and saved > max(gain, LEAST_GAIN):
            said = f"{change.flags}, {saved:.0%} fewer {planner.machine.noun}-hours"
            yield f"another way to explore would save more: {said}"


def schedule_sentence(planner: Planner, args: Any, plan: RunPlan) -> str | None:
    """What to set where the learning-rate schedule counts on other states than the pilot's; None where it is right.

    The schedule moves on by what ``--marge.skip_saturated`` leaves out, too.
    """
    config = method_of(args)
    if config is None or planner.pilot.is_assumed or not can_miss_plan(args):
        return None
    come = plan.optimizer_steps
    if config.skip_saturated:
        whole = copy.deepcopy(args)
        whole.marge = replace(config, skip_saturated=False)
        come = planner.plan(whole).optimizer_steps
    counted = planned_steps(args, planner.problems * config.scheduled_states * args.rollout.n_samples_per_prompt)
    states = config.scheduled_states * come / counted
    if abs(come / counted - 1) <= TOLERANCE:
        return None
    return (
        f"the learning-rate schedule counts on {config.scheduled_states:.2f} states a problem and {counted:,} "
        f"optimizer steps, and {come:,} come: set --marge.expected_states {states:.2f}"
    )


def tried(planner: Planner, args: Any) -> Iterator[tuple[Change, RunPlan]]:
    """The launch with each change that can be given."""
    for change in CHANGES:
        if change.can(args, devices_of(args)) and not (change.flags == SHARE and planner.shape.slides):
            other = copy.deepcopy(args)
            change.apply(other)
            pilot = with_fresh_guidance(planner.pilot) if change.flags == FRESH else planner.pilot
            yield change, replace(planner, pilot=pilot).plan(other)


def binds(plan: RunPlan) -> str:
    """The phase that takes longest, and within generation what makes it so."""
    seconds = plan.seconds
    phase = max(PHASES, key=lambda name: getattr(seconds, name))
    share = getattr(seconds, phase) / sum(getattr(seconds, name) for name in PHASES)
    if phase == "generation":
        driver = seconds.generation - max(seconds.engine, seconds.grader)
        phase = max((seconds.engine, "engine"), (seconds.grader, "grader"), (driver, "driver"))[1]
    return f"{NAMES[phase]}: {share:.0%} of the seconds of all phases"
