"""Faults in a simulated run, each crash followed by a resume; what is trained on is held to a run without any."""

from __future__ import annotations

import random
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from simulated_cluster import Cluster, Shape
from simulated_engine import SimulatedEngine
from simulated_run import silent, without_experiences

from openrlhf_marge import MargeConfig
from openrlhf_marge.host.rollout.records import RolloutRecord
from openrlhf_marge.method.guidance import PoolState
from openrlhf_marge.runs.checkpoints import CheckpointStore
from openrlhf_marge.types import TokenIds

from virtual_time import NothingLeft, VirtualClock, virtual_time

ENGINE_FAULTS = ("dies", "stalls", "late", "twice", "hangs")
FAULTS = (*ENGINE_FAULTS, "grader fails", "trainer is killed")
EPISODES = 2
# What a run must say before it ends: which engine, or that the grader failed, or how many completions came.
SENTENCES = ("failed while it sampled problem", "failed on the problem", "completions, expected")


def shape_of(rollouts: int) -> Shape:
    return Shape(
        engines=4, problems=8, rollouts=rollouts, completions=4, batch=16, max_response=200,
        responses=dict(median=40.0, sigma=0.8),
        config=MargeConfig(split="tokens", n_states=3, n_candidates=6, max_age=1),
    )  # fmt: skip


@dataclass
class Story:
    """Of a run: what every step trained on, and what went wrong on the way."""

    steps: list[tuple[tuple[int, TokenIds], ...]] = field(default_factory=list)  # group and completion
    pool: PoolState | None = None
    injected: Counter[str] = field(default_factory=Counter)
    crashes: Counter[str] = field(default_factory=Counter)


class FaultyRun:
    """A run in rollouts, with one fault in each while there are any; it goes on from its last checkpoint."""

    def __init__(self, folder: Path, clock: VirtualClock, faults: Sequence[str], seed: int, rollouts: int) -> None:
        self.cluster, self.store = Cluster(shape_of(rollouts), clock, folder), CheckpointStore(folder / "_marge")
        self.left, self.rng, self.story = list(faults), random.Random(seed), Story()
        self.generator, self.kwargs = self.cluster.generator()
        self.place = 0  # of the loader, at the last checkpoint

    def to_the_end(self) -> Story:
        while self.generator.episode < EPISODES:
            fault = self.left.pop() if self.left else ""
            engine = self.inject(fault)
            try:
                self.roll_out(fault)
            except (RuntimeError, KeyboardInterrupt) as e:
                said = isinstance(e, (NothingLeft, KeyboardInterrupt)) or any(s in str(e) for s in SENTENCES)
                assert said and fault, e
                self.story.crashes[fault] += 1
                self.resume()
            if engine is not None and engine.faults:  # it was asked for less than that
                self.left.insert(0, fault)
            elif fault:
                self.story.injected[fault] += 1
        self.story.pool = self.generator.pool.state_dict()
        return self.story

    def inject(self, fault: str) -> SimulatedEngine | None:
        """The engine that will fail, if it is one."""
        for engine in self.cluster.engines:
            engine.faults = {}
        grader = self.cluster.grader
        grader.fails_at = grader.asked + self.rng.randrange(1, 40) if fault == "grader fails" else -1
        if fault not in ENGINE_FAULTS:
            return None
        engine = self.rng.choice(self.cluster.engines)
        engine.faults = {engine.asked + self.rng.randrange(3): fault}
        return engine

    def roll_out(self, fault: str) -> None:
        samples, _, _, exhausted = self.generator.generate_samples(**self.kwargs)
        if fault == "trainer is killed":
            raise KeyboardInterrupt
        self.cluster.new_weights()
        if samples:
            self.story.steps.append(tuple((group_id, c.token_ids) for group_id, c in samples))
            self.place = 0 if exhausted else self.cluster.loader.place
            record = self.generator.take_record().with_pool(self.generator.pool.state_dict())
            self.store.write_state(len(self.story.steps), record)

    def resume(self) -> None:
        """New processes, from the last checkpoint."""
        for engine in self.cluster.engines:
            engine.restart()
        self.generator, self.kwargs = self.cluster.generator()
        self.cluster.loader.place, step = self.place, len(self.story.steps)
        if step:
            self.generator.restore(self.store.read_state(step, RolloutRecord), step)


def told(faults: Sequence[str], seed: int, rollouts: int) -> Story:
    with tempfile.TemporaryDirectory() as folder, virtual_time() as clock, silent(), without_experiences():
        return FaultyRun(Path(folder), clock, faults, seed, rollouts).to_the_end()


def run_with_faults(n_faults: int, seed: int) -> str:
    """A sentence on a run with so many faults; AssertionError where it trained on anything else than one without."""
    faults = [FAULTS[i % len(FAULTS)] for i in range(n_faults)]
    random.Random(seed).shuffle(faults)
    rollouts = n_faults // EPISODES + 2
    wanted, story = told([], seed, rollouts), told(faults, seed, rollouts)
    assert story.injected.total() == n_faults, story.injected
    assert story.steps == wanted.steps and story.pool == wanted.pool
    kinds = ", ".join(f"{kind} {n} times" for kind, n in sorted(story.injected.items()))
    return (
        f"seed {seed}: {n_faults} faults ({kinds}) ended {story.crashes.total()} processes, {story.crashes['hangs']} "
        f"of them by an engine that hung; all {len(story.steps)} steps trained on the same completions in the same "
        "order as without faults, and the guidance is the same"
    )
