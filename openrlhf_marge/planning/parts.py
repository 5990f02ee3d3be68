"""What each process keeps in a device's memory, part by part, in bytes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from openrlhf_marge.planning.batches import Passes
from openrlhf_marge.planning.devices import Devices, has_reference, number_bytes
from openrlhf_marge.planning.machines import GIB, Machine
from openrlhf_marge.planning.seconds import optimizer_bytes, trained_parameters
from openrlhf_marge.planning.shape import ModelShape

# DeepSpeed's defaults, which OpenRLHF leaves as they are: numbers in a bucket of gradients, and parameters of a model
# in parts that may be whole at once.
BUCKET, LIVE = 500_000_000, 1_000_000_000
CONTEXT = 1.0 * GIB  # of a process on a GPU: CUDA and NCCL
CPU_PROCESS = 0.7 * GIB  # libraries of a process without GPU
ENGINE_OTHER = 2.0 * GIB  # of an engine beside weights and KV cache: activations, graphs
CPU_CACHE = 1.0 * GIB  # VLLM_CPU_KVCACHE_SPACE as runs/cpu.py sets it
# Bytes for each logit in training. With flash-attn's cross entropy: the float32 logits, their gradient, and that in a
# half float. Without, as measured on an H100 (tests/gpu/README.md: 37.5 GiB for 9,900 tokens of Qwen2-0.5B's shape, of
# which the layers have 13).
FLASH_LOGIT, LOGIT, ENTROPY_LOGIT, FORWARD_LOGIT = 10, 17.5, 8, 8


@dataclass(frozen=True)
class Part:
    name: str
    bytes: float


@dataclass(frozen=True, kw_only=True)
class Parts:
    """Of a launch on a machine."""

    args: Any
    shape: ModelShape
    machine: Machine
    devices: Devices

    @property
    def cached_tokens(self) -> int:
        """Tokens that the KV cache of an engine holds."""
        parallel = self.args.vllm.tensor_parallel_size
        return int(max(0.0, self.cache()) / (self.shape.cache_bytes(number_bytes(self.args)) / parallel))

    def cache(self) -> float:
        if self.machine.is_cpu:
            return CPU_CACHE
        budget = self.args.vllm.gpu_memory_utilization * self.machine.memory
        return budget - self.weights() / self.args.vllm.tensor_parallel_size - ENGINE_OTHER

    def weights(self) -> float:
        return self.shape.parameters * number_bytes(self.args)

    def engine(self) -> list[Part]:
        weights = self.weights() / self.args.vllm.tensor_parallel_size
        other = CPU_PROCESS if self.machine.is_cpu else ENGINE_OTHER
        parts = [Part("engine's weights", weights), Part("engine's other", other)]
        return [*parts, Part("KV cache", max(0.0, self.cache()))]

    def context(self) -> float:
        return CPU_PROCESS if self.machine.is_cpu else CONTEXT

    def _ranks(self, stage: int) -> int:
        """Among how many devices something is divided from this stage of ZeRO on."""
        return self.devices.policy if self.args.ds.zero_stage >= stage else 1

    def policy(self) -> list[Part]:
        return [Part("policy's process", self.context()), Part("weights", self.weights() / self._ranks(3))]

    def reference(self) -> list[Part]:
        if not has_reference(self.args):
            return []
        among = self.devices.reference if self.args.ds.zero_stage == 3 else 1
        weights = 0.0 if self.args.ref.offload else self.weights() / among
        return [Part("reference's process", self.context()), Part("reference's weights", weights)]

    def critic(self) -> list[Part]:
        """As large as the policy; what sleeps is in the host's memory."""
        if not self.devices.critic:
            return []
        awake = [] if self.args.ds.enable_sleep else [Part("critic's optimizer", self.optimizer()[0].bytes)]
        weights = Part("critic's weights", self.weights() / self._ranks(3))
        return [Part("critic's process", self.context()), weights, *awake]

    def optimizer(self) -> list[Part]:
        trained = trained_parameters(self.args, self.shape)
        states = 0.0 if self.args.ds.adam_offload else trained * optimizer_bytes(self.args) / self._ranks(1)
        return [Part("optimizer", states)]

    def training(self, passes: Passes) -> list[Part]:
        args, bytes_ = self.args, number_bytes(self.args)
        trained = trained_parameters(args, self.shape)
        gradients = 0.0 if args.ds.adam_offload and args.ds.zero_stage > 1 else trained * bytes_ / self._ranks(2)
        buffers = min(BUCKET, trained) * bytes_ * (2 if args.ds.overlap_comm else 1) if args.ds.zero_stage else 0
        if args.ds.zero_stage == 3 and self.devices.policy > 1:
            buffers += min(LIVE, self.shape.parameters) * bytes_
        tokens = self._most_tokens(args.train.max_tokens_per_gpu, args.train.micro_batch_size)
        per_logit = (FLASH_LOGIT if "flash" in args.ds.attn_implementation else LOGIT) * bytes_ / 2
        per_logit += ENTROPY_LOGIT if args.actor.entropy_coef is not None else 0
        return [
            *self.optimizer(),
            Part("gradients", gradients),
            Part("buffers", buffers),
            Part("activations", tokens * self._activations()),
            Part("logits", tokens * passes.logits / passes.computed * self.shape.vocab * per_logit),
        ]

    def forward(self, passes: Passes) -> list[Part]:
        tokens = self._most_tokens(self.args.rollout.max_tokens_per_gpu, self.args.rollout.micro_batch_size)
        logits = tokens * passes.logits / passes.computed * self.shape.vocab
        return [Part("activations", tokens * self._of_layer()), Part("logits", logits * FORWARD_LOGIT)]

    def _most_tokens(self, dynamic: int, rows: int) -> float:
        """Of the largest micro-batch that may come on a device: rows are taken to be as long as they may be."""
        args = self.args
        most = max(dynamic, args.data.max_len) if args.train.dynamic_batch_enable else rows * args.data.max_len
        return most / args.ds.ring_attn_size

    def _of_layer(self) -> float:
        """Bytes that a token leaves in a layer for the backward pass.

        Of half floats: two norms with float32 inside (16 a channel), queries, keys, values, rotated ones and the
        output of attention, and four of the MLP's width. Attention itself keeps nothing (flash or sdpa).
        """
        shape = self.shape
        return number_bytes(self.args) / 2 * (16 * shape.hidden + 6 * shape.queries + 6 * shape.keys + 8 * shape.inner)

    def _activations(self) -> float:
        """Bytes for each token of a micro-batch: of all layers, or their inputs and one layer."""
        layers = self.shape.layers
        if not self.args.actor.gradient_checkpointing_enable:
            return layers * self._of_layer()
        return layers * self.shape.hidden * number_bytes(self.args) + self._of_layer()
