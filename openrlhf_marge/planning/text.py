"""A plan as text: two columns, the launch and GRPO with the same flags, then memory, disk and advice."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from openrlhf_marge.planning.devices import method_of
from openrlhf_marge.planning.machines import GIB, Machine
from openrlhf_marge.planning.phases import PHASES
from openrlhf_marge.planning.planner import RunPlan

SHOWN_STATES = 9
PHASE_NAMES = {
    "generation": "generation, grading", "log_probs": "log-probs of old policy, reference", "training": "training",
    "sync": "weight sync",
}  # fmt: skip
UNITS = ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k"))


def amount(value: float) -> str:
    """Three digits and a unit: 1.23 M."""
    for size, unit in UNITS:
        if abs(value) >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value:.3g}"


def duration(seconds: float) -> str:
    """In seconds, minutes, hours or days."""
    for size, unit, least in ((86400, "days", 2), (3600, "h", 1), (60, "min", 2)):
        if seconds >= least * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1f} s"


def size(value: float) -> str:
    """Bytes."""
    for unit, name in ((1e12, "TB"), (1e9, "GB")):
        if value >= unit:
            return f"{value / unit:.3g} {name}"
    return f"{value / 1e6:.3g} MB"


def table(plans: Sequence[RunPlan], args: Any, noun: str) -> Iterator[str]:
    """The rows that the plans have in common; ``args`` is the launch, ``noun`` what is paid for."""
    sampled = [plan.sampled for plan in plans]
    yield from _rows(
        plans,
        ("iterations", lambda p: f"{p.iterations:,}"),
        ("generated tokens", lambda p: amount(p.sampled.tokens)),
        ("  candidates and probes", lambda p: amount(p.sampled.untrained_tokens)),
    )
    states = max(len(s.completion_tokens) for s in sampled)
    for index in range(min(states, SHOWN_STATES)):
        yield _line(f"  completions of s_{index}", [_of_state(s.completion_tokens, index) for s in sampled])
    if states > SHOWN_STATES:
        rest = [amount(sum(s.completion_tokens[SHOWN_STATES:])) for s in sampled]
        yield _line("  completions of later states", rest)
    yield from _rows(
        plans,
        ("states a problem", lambda p: f"{p.sampled.states / p.sampled.problems:.2f}"),
        ("problems that train nothing", lambda p: f"{p.sampled.without_guidance / p.sampled.problems:.0%}"),
        ("prompt tokens that engines compute", lambda p: amount(p.sampled.prefill_tokens)),
        ("  and find in their cache", lambda p: amount(p.sampled.cached_tokens)),
        ("completions trained on", lambda p: amount(p.sampled.trained)),
        ("training tokens, all epochs", lambda p: amount(p.trained_tokens)),
        ("  distinct in a micro-batch", lambda p: amount(p.distinct_tokens)),
        ("  computed, padding included", lambda p: amount(p.computed_tokens)),
        ("optimizer steps", lambda p: f"{p.optimizer_steps:,}"),
    )
    if config := method_of(args):
        has = "which this launch has" if config.share_prefix else "which this launch has not"
        yield f"(--marge.share_prefix, {has}, computes the distinct ones)"
    for phase in PHASES:
        yield _line(f"seconds, {PHASE_NAMES[phase]}", [_phase(plan, phase) for plan in plans])
    yield from _rows(
        plans,
        ("  an iteration of the first episode", lambda p: duration(p.first.seconds.total)),
        ("  one of a later episode", lambda p: duration(p.later.seconds.total)),
        ("the run, without start and evaluation", lambda p: duration(p.seconds.total)),
        (f"{noun}s", lambda p: str(p.device_count)),
        (f"{noun}-hours", lambda p: f"{p.device_hours:,.1f}"),
        (f"peak memory of a {noun}, GiB", lambda p: f"{max(u.total for u in p.usages) / GIB:.1f}"),
        ("checkpoints kept", lambda p: f"{p.disk.checkpoints} x {size(p.disk.checkpoint_bytes)}"),
        ("dump", lambda p: size(p.disk.dump_bytes)),
        ("disk in all", lambda p: size(p.disk.total)),
    )


def memory_lines(plan: RunPlan, machine: Machine) -> Iterator[str]:
    """A line for each phase and kind of device, then what the KV cache holds."""
    for usage in plan.usages:
        parts = ", ".join(f"{part.name} {part.bytes / GIB:.1f}" for part in usage.parts if part.bytes)
        total = f"{usage.total / GIB:.1f} of {machine.memory / GIB:.1f} GiB"
        yield f"memory of {usage.where}, {usage.phase}: {total}: {parts}"
    yield f"an engine's KV cache holds {amount(plan.cached_tokens)} tokens"


def _phase(plan: RunPlan, phase: str) -> str:
    seconds = getattr(plan.seconds, phase)
    return f"{duration(seconds)} ({seconds / sum(getattr(plan.seconds, name) for name in PHASES):.0%})"


def _of_state(tokens: Sequence[float], index: int) -> str:
    return amount(tokens[index]) if index < len(tokens) else "-"


def _rows(plans: Sequence[RunPlan], *rows: tuple[str, Callable[[RunPlan], str]]) -> Iterator[str]:
    for name, cell in rows:
        yield _line(name, [cell(plan) for plan in plans])


def _line(name: str, cells: Sequence[str]) -> str:
    return f"{name:38}" + "".join(f"{cell:>20}" for cell in cells)
