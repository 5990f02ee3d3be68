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
        args, devices, engine = self.args, self.devices, self.engine()
        colocated = is_colocated(args)
        near_reference = args.train.colocate_all or args.train.colocate_actor_ref
        beside = (self.reference() if near_reference else []) + (self.critic() if args.train.colocate_all else [])
        asleep = [Part("sleeping engine", CONTEXT)] if args.vllm.enable_sleep else engine
        in_training = beside + (asleep if colocated else [])
        optimizer = [] if args.ds.enable_sleep else self.optimizer()

        def usage(where: str, phase: str, count: int, *parts: Part) -> Usage:
            return Usage(where=f"a GPU of {where}", phase=phase, devices=count, parts=parts)

        forward, trained = self.forward(experience), self.training(training)
        pass_ = "the pass for log-probs"
        found = [
            usage("the policy", pass_, devices.policy, *self.policy(), *in_training, *optimizer, *forward),
            usage("the policy", "training", devices.policy, *self.policy(), *in_training, *trained),
        ]
        if devices.reference and not near_reference:
            found.append(usage("the reference", pass_, devices.reference, *self.reference(), *forward))
        if devices.critic and not args.train.colocate_all:
            found.append(usage("the critic", "training", devices.critic, *self.critic(), *trained[1:]))
        if colocated:
            found.append(
                usage("the policy", "generation", devices.policy, *self.policy(), *beside, *optimizer, *engine)
            )
        else:
            found.append(usage("an engine", "generation", devices.engines, *engine))
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
