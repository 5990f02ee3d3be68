"""All that a launch costs, by a pilot and a machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Any

from openrlhf_marge.method.schedule import planned_steps
from openrlhf_marge.planning.devices import Devices, devices_of, method_of
from openrlhf_marge.planning.disk import Disk, disk_of
from openrlhf_marge.planning.iteration import Iteration, iteration_of
from openrlhf_marge.planning.machines import Machine
from openrlhf_marge.planning.memory import Memory, Usage
from openrlhf_marge.planning.phases import Seconds
from openrlhf_marge.planning.pilot import Pilot, later_visits
from openrlhf_marge.planning.sampling import Sampled
from openrlhf_marge.planning.shape import ModelShape
from openrlhf_marge.planning.variants import adapted
from openrlhf_marge.planning.visits import SampledVisit, stock_visit


@dataclass(frozen=True, kw_only=True)
class RunPlan:
    """``first`` is an iteration of the first episode, ``later`` one of the others; sums are over the run."""

    devices: Devices
    device_count: int  # that are paid for
    iterations: int
    first: Iteration
    later: Iteration
    sampled: Sampled
    trained_tokens: float  # given to the policy in training, all epochs
    distinct_tokens: float  # of them within micro-batches
    computed_tokens: float  # that go through it: padded, packed or distinct
    optimizer_steps: int
    seconds: Seconds
    usages: tuple[Usage, ...]
    cached_tokens: int  # that an engine's KV cache holds
    misfit: str | None
    disk: Disk

    @property
    def device_hours(self) -> float:
        return self.seconds.total * self.device_count / 3600


@dataclass(frozen=True, kw_only=True)
class Planner:
    """What a plan goes by beside the launch; ``problems`` are those of an episode."""

    problems: int
    shape: ModelShape
    machine: Machine
    pilot: Pilot

    def plan(self, args: Any) -> RunPlan:
        """ValueError for a launch that has something not counted here."""
        devices = devices_of(args)
        memory = Memory(args=args, shape=self.shape, machine=self.machine, devices=devices)
        of_first, of_later = (self._episode(args, visits) for visits in self._visits(args))
        episodes, epochs = args.train.num_episodes, args.train.max_epochs
        run = [*of_first, *of_later * (episodes - 1)]
        sampled = sum((i.sampled for i in run), Sampled())
        usages = memory.usages(of_first[0].experience, of_first[0].epoch)
        return RunPlan(
            devices=devices,
            device_count=1 if self.machine.is_cpu else devices.total,
            iterations=len(run),
            first=of_first[0],
            later=of_later[0],
            sampled=sampled,
            trained_tokens=epochs * sum(i.epoch.tokens for i in run),
            distinct_tokens=epochs * sum(i.distinct for i in run),
            computed_tokens=epochs * sum(i.epoch.computed for i in run),
            optimizer_steps=self._steps(args, run),
            seconds=reduce(add, (i.seconds for i in run)),
            usages=tuple(usages),
            cached_tokens=memory.cached_tokens,
            misfit=memory.misfit(usages),
            disk=disk_of(args, self.shape, devices, len(run), sampled.tokens, self.pilot.bytes_per_token),
        )

    def _episode(self, args: Any, visits: Sequence[SampledVisit]) -> list[Iteration]:
        """Its iterations, the last of which may have fewer problems."""
        size = min(args.rollout.batch_size, self.problems)
        whole, rest = divmod(self.problems, size)
        iterations = [self._iteration(args, visits, size)] * whole
        return [*iterations, self._iteration(args, visits, rest)] if rest else iterations

    def _iteration(self, args: Any, visits: Sequence[SampledVisit], problems: int) -> Iteration:
        return iteration_of(args, self.shape, self.machine, visits, problems)

    def _steps(self, args: Any, run: Sequence[Iteration]) -> int:
        """Optimizer steps: of whole batches over the run, with OpenRLHF's own methods of every rollout."""
        if method_of(args) is not None:
            return planned_steps(args, sum(i.sampled.trained for i in run) / args.train.num_episodes)
        return sum(round(i.sampled.trained) // args.train.batch_size for i in run) * args.train.max_epochs

    def _visits(self, args: Any) -> tuple[Sequence[SampledVisit], Sequence[SampledVisit]]:
        """Of the first episode and of the others."""
        config, n = method_of(args), args.rollout.n_samples_per_prompt
        if config is None:
            visits = [stock_visit(visit, n) for visit in self.pilot.first]
            return visits, visits
        repeats = config.explore != "guided" or config.guidance_source != "carried"
        both = self.pilot.first, later_visits(self.pilot, repeats)
        return tuple([adapted(visit, args) for visit in visits] for visits in both)  # type: ignore[return-value]
