"""What rollouts of a simulated cluster took, in virtual and in CPU time."""

from __future__ import annotations

import functools
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from simulated_cluster import Cluster

from openrlhf_marge.host.rollout import explorations, samples_generator
from openrlhf_marge.host.rollout.records import RolloutRecord
from openrlhf_marge.host.rollout.samples_generator import GuidedSamplesGenerator


@contextmanager
def without_experiences() -> Iterator[None]:
    """OpenRLHF's Experiences are not made; the ids of their groups stand for them, each with its completion."""
    original = samples_generator.to_experiences
    samples_generator.to_experiences = lambda _generator, group, *_: [(group.id, c) for c in group.trained]
    try:
        yield
    finally:
        samples_generator.to_experiences = original


@contextmanager
def silent() -> Iterator[None]:
    """No progress bars."""
    original = explorations.tqdm
    explorations.tqdm = functools.partial(original, disable=True)
    try:
        yield
    finally:
        explorations.tqdm = original


@dataclass(frozen=True, kw_only=True)
class Taken:
    """By one rollout: virtual seconds, CPU seconds of the driver, and by engine what it did."""

    states: int
    tokens: int
    prompt_tokens: int
    cached_tokens: int
    virtual: float
    nine_tenths: float  # virtual seconds up to so many of the answers
    latencies: Sequence[float]  # from request to answer, ascending
    thread: float  # CPU seconds of the thread that everything runs in
    process: float  # of all threads
    busy: Sequence[float]
    slots: Sequence[float]
    made: Sequence[int]  # tokens
    explorers: Sequence[float]  # CPU seconds of each explorer's thread; none where the driver explores
    packed: int  # bytes of what they answered with
    record: RolloutRecord


def roll_out(cluster: Cluster, generator: GuidedSamplesGenerator, kwargs: dict[str, Any]) -> Taken:
    """One rollout, its record and its weight update."""
    engines, begin = cluster.engines, cluster.clock.now
    before = [(e.busy, e.slots, e.tokens) for e in engines]
    for engine in engines:
        engine.answers.clear()
    explorers = generator._explorers
    explored, packed = ([*explorers.seconds], explorers.packed) if explorers else ([], 0)
    thread, process, simulated = time.thread_time(), time.process_time(), cluster.meter.seconds
    generator.generate_samples(**kwargs)
    record = generator.take_record()
    simulated = cluster.meter.seconds - simulated
    thread, process = time.thread_time() - thread - simulated, time.process_time() - process - simulated
    cluster.new_weights()
    answers = sorted(answer for engine in engines for answer in engine.answers)
    done = [(e.busy - b, e.slots - s, e.tokens - m) for e, (b, s, m) in zip(engines, before, strict=True)]
    busy, slots, made = zip(*done, strict=True)
    metrics = record.metrics
    return Taken(
        states=int(metrics["marge/groups"]), tokens=int(metrics["marge/generated_tokens"]),
        prompt_tokens=int(metrics["marge/prompt_tokens"]), cached_tokens=int(metrics["marge/cached_prompt_tokens"]),
        virtual=cluster.clock.now - begin, nine_tenths=answers[len(answers) * 9 // 10][0] - begin,
        latencies=sorted(latency for _, latency in answers), thread=thread, process=process, busy=busy, slots=slots,
        made=made, record=record,
        explorers=[now - then for now, then in zip(explorers.seconds, explored, strict=True)] if explorers else [],
        packed=explorers.packed - packed if explorers else 0,
    )  # fmt: skip
