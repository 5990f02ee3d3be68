"""Seconds of an iteration by phase, on a machine; every term is seconds of the slowest device."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from openrlhf_marge.planning.batches import Passes
from openrlhf_marge.planning.devices import Devices, has_reference, is_colocated, number_bytes
from openrlhf_marge.planning.machines import Machine
from openrlhf_marge.planning.phases import Seconds
from openrlhf_marge.planning.sampling import Sampled
from openrlhf_marge.planning.shape import ModelShape

ADAM_BYTES = 28  # that a step reads and writes for a parameter: gradient, master weight, two moments, weight


@dataclass(frozen=True, kw_only=True)
class Clock:
    """A launch on a machine."""

    args: Any
    shape: ModelShape
    machine: Machine
    devices: Devices

    def of(self, sampled: Sampled, steps: int, experience: Passes, epoch: Passes, optimizer_steps: float) -> Seconds:
        """An iteration that samples so much over ``steps`` of each engine, and trains on rows of these passes."""
        fixed = self.machine.fixed
        engine = self.engine(sampled, steps)
        grader = fixed.grading * (sampled.completions + sampled.untrained) / self.machine.graders
        host = fixed.completion * (sampled.completions + sampled.untrained)
        seconds = Seconds(
            generation=fixed.generation + max(engine, grader) + host,
            log_probs=self.log_probs(experience, sampled.trained),
            training=self.training(epoch, optimizer_steps),
            sync=self.sync(),
            engine=engine,
            grader=grader,
        )
        return seconds.overlapping() if self.args.train.async_enable else seconds

    def engine(self, sampled: Sampled, steps: int) -> float:
        """The slowest engine's seconds.

        A step reads the weights while its tokens are multiplied with them, so the slower of both counts; each token
        reads its context's keys and values; prompts are multiplied on top.
        """
        machine, fixed, parallel = self.machine, self.machine.fixed, self.args.vllm.tensor_parallel_size
        weight, engines = number_bytes(self.args), self.devices.engines // parallel
        bandwidth = machine.bandwidth * machine.reached.bandwidth * parallel
        flops = machine.flops * machine.reached.engine * parallel * engines
        step = fixed.engine_step + (fixed.engine_layer * self.shape.layers if self.args.vllm.enforce_eager else 0)
        reading = steps * self.shape.parameters * weight / bandwidth
        cache = sampled.looked_at / engines * self.shape.cache_bytes(weight) / bandwidth
        decoded = self.shape.forward(sampled.tokens, sampled.tokens, sampled.looked_at) / flops
        read = self.shape.forward(sampled.prefill_tokens, 0, 0) / flops
        return steps * step + fixed.token * sampled.tokens / engines + max(reading, decoded) + cache + read

    def log_probs(self, passes: Passes, rows: float) -> float:
        """Of the policy, and of a reference beside it, whichever is slower, or after it, and of a critic."""
        fixed, flops = self.machine.fixed, self.machine.reached.log_probs * self.machine.flops
        once = self._pass(passes, fixed.layer, flops, 1.0, 1)
        if self.devices.reference and not self.has_reference_after:
            once = max(once, self._pass(passes, fixed.layer, flops, 1.0, 1, self.devices.reference))
        return fixed.log_probs + fixed.row * rows + once * self.forward_models

    @property
    def forward_models(self) -> int:
        """Models on the policy's devices that compute the rows one after another."""
        return 1 + self.has_reference_after + bool(self.devices.critic and self.args.train.colocate_all)

    @property
    def has_reference_after(self) -> bool:
        """On the policy's devices."""
        return has_reference(self.args) and (self.args.train.colocate_all or self.args.train.colocate_actor_ref)

    @property
    def backward(self) -> float:
        """Forward passes that training takes: the gradients of inputs and of weights, and what is checkpointed."""
        return (2.0 if self.args.ds.lora.rank else 3.0) + bool(self.args.actor.gradient_checkpointing_enable)

    def training(self, passes: Passes, optimizer_steps: float) -> float:
        """All epochs; a critic is trained beside the policy, or after it where they sleep in turns."""
        fixed, args = self.machine.fixed, self.args
        flops = self.machine.flops * self.machine.reached.training
        epoch = self._pass(passes, fixed.layer_trained, flops, self.backward, 3)
        models = 1 + bool(self.devices.critic and self.args.train.colocate_all)
        seconds = (epoch * args.train.max_epochs + optimizer_steps * self.optimizer_step()) * models
        return fixed.training + seconds + self._sleep()

    def _pass(
        self, passes: Passes, layer: float, flops: float, factor: float, gathers: int, devices: int | None = None
    ) -> float:
        """One pass over the rows; under ZeRO 3 the weights are fetched meanwhile, so the slower of both counts.

        ``devices`` are the policy's, to whose ranks ``passes`` belong, where none are given.
        """
        n = devices or self.devices.policy
        per_rank = passes.per_rank * self.devices.policy / n
        work = self.shape.forward(passes.computed, passes.logits, passes.pairs) * factor / n / flops
        fetched = 0.0
        if self.args.ds.zero_stage == 3 and n > 1:
            moved = gathers * self.shape.parameters * number_bytes(self.args)
            fetched = per_rank * moved / self.machine.between(n)
        return per_rank * layer * self.shape.layers + max(work, fetched)

    def optimizer_step(self) -> float:
        """Gradients are averaged, where that is not done on the way, and Adam reads and writes its part."""
        args, machine, n = self.args, self.machine, self.devices.policy
        trained = trained_parameters(args, self.shape)
        part = trained / (n if args.ds.zero_stage else 1)
        adam = part * ADAM_BYTES / (machine.host_link if args.ds.adam_offload else machine.bandwidth)
        averaged = 0.0
        if n > 1 and args.ds.zero_stage < 3:
            averaged = 2 * trained * number_bytes(args) / machine.between(n)
        return machine.fixed.optimizer_step + adam + averaged

    def sync(self) -> float:
        """Tensor by tensor to the engines; those that sleep get their memory back."""
        args, machine = self.args, self.machine
        weights = self.shape.parameters * number_bytes(args)
        way = machine.link if is_colocated(args) or self.devices.total <= machine.devices_per_node else machine.network
        wake = 2 * weights / args.vllm.tensor_parallel_size / machine.host_link if args.vllm.enable_sleep else 0.0
        moved = weights / way if self.devices.total > 1 else weights / machine.bandwidth
        return machine.fixed.sync + machine.fixed.tensor * self.shape.tensors + moved + wake

    def _sleep(self) -> float:
        """Optimizer states to the host's memory and back, with ``--ds.enable_sleep``."""
        if not self.args.ds.enable_sleep or self.args.ds.adam_offload:
            return 0.0
        part = trained_parameters(self.args, self.shape) / (self.devices.policy if self.args.ds.zero_stage else 1)
        return 2 * part * optimizer_bytes(self.args) / self.machine.host_link


def trained_parameters(args: Any, shape: ModelShape) -> int:
    """All, or those of LoRA adapters."""
    return shape.adapter_parameters(args.ds.lora.rank) if args.ds.lora.rank else shape.parameters


def optimizer_bytes(args: Any) -> int:
    """Of Adam for a parameter: two moments in float32, and a float32 copy of a half float."""
    return 8 if args.ds.param_dtype == "fp32" else 12
