"""What binds a run, and which one flag would help most: the launch is planned again with each."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from openrlhf_marge.method.schedule import TOLERANCE, can_miss_plan, planned_steps
from openrlhf_marge.planning.devices import Devices, devices_of, has_reference, method_of
from openrlhf_marge.planning.planner import Planner, RunPlan
from openrlhf_marge.planning.seconds import PHASES

LEAST_GAIN = 0.03  # share of the device-hours
NAMES = {
    "engine": "the engines bind (generation)", "grader": "the grader binds (generation)",
    "driver": "the one process that hands out problems binds (generation)",
    "log_probs": "the pass for log-probs binds", "training": "training binds", "sync": "the weight sync binds",
}  # fmt: skip


@dataclass(frozen=True)
class Change:
    """Other flags, where they can be given: ``apply`` sets them in the parsed launch."""

    flags: str
    can: Callable[[Any, Devices], bool]
    apply: Callable[[Any], None]
    same_method: bool = True  # whether the run explores and trains on the same


def _setter(**values: Any) -> Callable[[Any], None]:
    """Sets ``group__name`` to its value."""

    def apply(args: Any) -> None:
        for path, value in values.items():
            group, _, name = path.partition("__")
            setattr(getattr(args, group), name, value)

    return apply


def _share(args: Any) -> None:
    args.marge = type(args.marge)(**{**vars_of(args.marge), "share_prefix": True})


def _fresh(args: Any) -> None:
    args.marge = type(args.marge)(**{**vars_of(args.marge), "guidance_source": "fresh"})


def vars_of(config: Any) -> dict[str, Any]:
    """The fields of a config and their values."""
    return {name: getattr(config, name) for name in config.__dataclass_fields__}


def _can_share(args: Any, devices: Devices) -> bool:
    alone = args.ds.ring_attn_size == args.ds.tensor_parallel_size == 1 and not args.ds.use_liger_kernel
    plain = not args.actor.gradient_checkpointing_reentrant and not args.actor.aux_loss_coef
    config = method_of(args)
    return config is not None and not config.share_prefix and alone and plain


CHANGES = (
    Change("--marge.share_prefix", _can_share, _share),
    Change(
        "--train.dynamic_batch_enable --train.max_tokens_per_gpu 16384",
        lambda a, d: not a.train.dynamic_batch_enable and "flash" in a.ds.attn_implementation,
        _setter(
            train__dynamic_batch_enable=True, train__max_tokens_per_gpu=16384, rollout__max_tokens_per_gpu=16384,
            ds__packing_samples=True,
        ),
    ),
    Change("--ds.packing_samples", lambda a, d: not a.ds.packing_samples and "flash" in a.ds.attn_implementation,
           _setter(ds__packing_samples=True)),
    Change("no --actor.gradient_checkpointing_enable", lambda a, d: a.actor.gradient_checkpointing_enable,
           _setter(actor__gradient_checkpointing_enable=False)),
    Change("--actor.gradient_checkpointing_enable", lambda a, d: not a.actor.gradient_checkpointing_enable,
           _setter(actor__gradient_checkpointing_enable=True)),
    Change(
        "--train.colocate_all --vllm.enable_sleep --ds.enable_sleep",
        lambda a, d: not a.train.colocate_all and not a.train.async_enable and d.policy == d.engines
        and d.reference in (0, d.policy) and d.critic in (0, d.policy) and a.vllm.sync_backend == "nccl",
        _setter(train__colocate_all=True, vllm__enable_sleep=True, ds__enable_sleep=True),
    ),
    Change("--vllm.enable_sleep --ds.enable_sleep",
           lambda a, d: a.train.colocate_all and not a.train.async_enable
           and not (a.vllm.enable_sleep and a.ds.enable_sleep) and a.vllm.sync_backend == "nccl",
           _setter(vllm__enable_sleep=True, ds__enable_sleep=True)),
    Change("no --vllm.enforce_eager", lambda a, d: a.vllm.enforce_eager and a.vllm.sync_backend == "nccl",
           _setter(vllm__enforce_eager=False)),
    Change("--vllm.enable_prefix_caching", lambda a, d: not a.vllm.enable_prefix_caching,
           _setter(vllm__enable_prefix_caching=True)),
    Change("--vllm.gpu_memory_utilization 0.4", lambda a, d: a.vllm.gpu_memory_utilization > 0.4,
           _setter(vllm__gpu_memory_utilization=0.4)),
    Change("--vllm.gpu_memory_utilization 0.85", lambda a, d: a.vllm.gpu_memory_utilization < 0.85,
           _setter(vllm__gpu_memory_utilization=0.85)),
    Change("--ds.zero_stage 3", lambda a, d: a.ds.zero_stage < 3, _setter(ds__zero_stage=3)),
    Change("--ds.zero_stage 2", lambda a, d: a.ds.zero_stage == 3, _setter(ds__zero_stage=2)),
    Change("--ds.adam_offload", lambda a, d: not a.ds.adam_offload and not a.ds.enable_sleep,
           _setter(ds__adam_offload=True)),
    Change("--ref.offload", lambda a, d: has_reference(a) and not a.ref.offload, _setter(ref__offload=True)),
    Change("--train.max_tokens_per_gpu 8192",
           lambda a, d: a.train.dynamic_batch_enable and a.train.max_tokens_per_gpu > 8192,
           _setter(train__max_tokens_per_gpu=8192, rollout__max_tokens_per_gpu=8192)),
    Change("--train.micro_batch_size 1 --rollout.micro_batch_size 1",
           lambda a, d: not a.train.dynamic_batch_enable and a.train.micro_batch_size > 1,
           _setter(train__micro_batch_size=1, rollout__micro_batch_size=1)),
    Change(
        "--marge.guidance_source fresh",
        lambda a, d: (c := method_of(a)) is not None and c.explore == "guided" and c.guidance_source == "carried",
        _fresh,
        same_method=False,
    ),
)  # fmt: skip


def advice(planner: Planner, args: Any, plan: RunPlan) -> Iterator[str]:
    """What binds; the flag that would help most, and one that changes the method where it helps more still."""
    yield binds(plan)
    if sentence := schedule_sentence(planner, args, plan):
        yield sentence
    tried = list(_tried(planner, args))
    fitting = [(change, other) for change, other in tried if other.misfit is None]
    best = min((pair for pair in fitting if pair[0].same_method), key=lambda p: p[1].device_hours, default=None)
    if plan.misfit is not None:
        if best is None:
            yield "no single flag that is tried here makes it fit; more GPUs, or a smaller --data.max_len, do"
        else:
            yield f"it fits with {best[0].flags}: {best[1].device_hours:,.1f} device-hours"
        return
    gain = 1 - best[1].device_hours / plan.device_hours if best else 0.0
    yield (
        f"the flag that would help most: {best[0].flags}, {gain:.0%} fewer device-hours"
        if best and gain >= LEAST_GAIN
        else "no flag that is tried here would save 3 % of the device-hours"
    )
    for change, other in fitting:
        saved = 1 - other.device_hours / plan.device_hours
        if not change.same_method and saved > max(gain, LEAST_GAIN):
            yield f"another way to explore would save more: {change.flags}, {saved:.0%} fewer device-hours"


def schedule_sentence(planner: Planner, args: Any, plan: RunPlan) -> str | None:
    """What to set where the learning-rate schedule counts on other states than the pilot's; None where it is right."""
    config = method_of(args)
    if config is None or not can_miss_plan(args):
        return None
    counted = planned_steps(args, planner.problems * config.scheduled_states * args.rollout.n_samples_per_prompt)
    states = config.scheduled_states * plan.optimizer_steps / counted
    if abs(plan.optimizer_steps / counted - 1) <= TOLERANCE:
        return None
    return (
        f"the learning-rate schedule counts on {config.scheduled_states:.2f} states a problem and {counted:,} optimizer "
        f"steps, and {plan.optimizer_steps:,} come: set --marge.expected_states {states:.2f}"
    )


def _tried(planner: Planner, args: Any) -> Iterator[tuple[Change, RunPlan]]:
    for change in CHANGES:
        if change.can(args, devices_of(args)):
            other = copy.deepcopy(args)
            change.apply(other)
            if change.flags == "--marge.guidance_source fresh":
                yield change, planner.without_candidates().plan(other)
            else:
                yield change, planner.plan(other)


def binds(plan: RunPlan) -> str:
    """The phase that takes longest, and within generation what makes it so."""
    seconds = plan.seconds
    phase = max(PHASES, key=lambda name: getattr(seconds, name))
    share = getattr(seconds, phase) / sum(getattr(seconds, name) for name in PHASES)
    if phase == "generation":
        driver = seconds.generation - max(seconds.engine, seconds.grader)
        phase = max((seconds.engine, "engine"), (seconds.grader, "grader"), (driver, "driver"))[1]
    return f"{NAMES[phase]}: {share:.0%} of the seconds of all phases"
