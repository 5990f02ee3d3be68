"""What lies in the memory of a device in each phase, and whether it fits."""

from __future__ import annotations

from dataclasses import dataclass

from openrlhf_marge.planning.batches import Passes
from openrlhf_marge.planning.devices import is_colocated
from openrlhf_marge.planning.machines import GIB
from openrlhf_marge.planning.parts import CONTEXT, Part, Parts


@dataclass(frozen=True, kw_only=True)
class Usage:
    """Of one device of ``devices`` alike ones, at the peak of a phase."""

    where: str
    phase: str
    devices: int
    parts: tuple[Part, ...]

    @property
    def total(self) -> float:
        return sum(part.bytes for part in self.parts)

    def misfit(self, memory: float) -> str | None:
        """Why it does not fit, naming the first part that finds no room; None where all do."""
        used = 0.0
        for part in self.parts:
            used += part.bytes
            if used > memory:
                listed = ", ".join(f"{p.name} {p.bytes / GIB:.1f}" for p in self.parts)
                return (
                    f"there is no room for {part.name}: {self.phase} takes {self.total / GIB:.1f} GiB on "
                    f"{self.where}, which has {memory / GIB:.1f} ({listed})"
                )
        return None


@dataclass(frozen=True, kw_only=True)
class Memory(Parts):
    """A launch on a machine."""

    def usages(self, experience: Passes, training: Passes) -> list[Usage]:
        """The phases of every kind of device; a CPU machine is one device that has everything."""
        if self.machine.is_cpu:
            parts = [*self.policy(), *self.training(training), *self.reference(), *self.engine()]
            return [Usage(where="the machine", phase="training", devices=1, parts=tuple(parts))]
        engine, colocated = self.engine(), is_colocated(self.args)
        beside = self.reference() if self.args.train.colocate_all or self.args.train.colocate_actor_ref else []
        beside = beside + (self.critic() if self.args.train.colocate_all else [])
        asleep = [Part("sleeping engine", CONTEXT)] if self.args.vllm.enable_sleep else engine
        beside_all = beside + (asleep if colocated else [])
        optimizer = [] if self.args.ds.enable_sleep else self.optimizer()
        forward = [*self.policy(), *beside_all, *optimizer, *self.forward(experience)]
        trained = [*self.policy(), *beside_all, *self.training(training)]
        n = self.devices.policy
        found = [
            Usage(where="a GPU of the policy", phase="the pass for log-probs", devices=n, parts=tuple(forward)),
            Usage(where="a GPU of the policy", phase="training", devices=n, parts=tuple(trained)),
        ]
        if colocated:
            awake = [*self.policy(), *beside, *optimizer, *engine]
            found.append(
                Usage(where="a GPU of the policy", phase="generation", devices=n, parts=tuple(awake)),
            )
        else:
            found.append(
                Usage(
                    where="a GPU of an engine", phase="generation", devices=self.devices.engines, parts=tuple(engine)
                ),
            )
        return found

    def misfit(self, usages: list[Usage]) -> str | None:
        """The first sentence of what does not fit; None where everything does."""
        if sentence := self._cache_misfit():
            return sentence
        return next((said for usage in usages if (said := usage.misfit(self.machine.memory))), None)

    def _cache_misfit(self) -> str | None:
        if self.cached_tokens >= self.args.data.max_len:
            return None
        share = self.args.vllm.gpu_memory_utilization
        weights = self.weights() / self.args.vllm.tensor_parallel_size
        return (
            f"there is no room for the KV cache: --vllm.gpu_memory_utilization {share:g} of "
            f"{self.machine.memory / GIB:.1f} GiB leaves {max(0.0, self.cache()) / GIB:.1f} beside an engine's "
            f"weights ({weights / GIB:.1f}), which is {self.cached_tokens} tokens, and --data.max_len is "
            f"{self.args.data.max_len}"
        )
