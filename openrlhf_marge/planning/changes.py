"""Flags that may help a run, each with whether it can be given and what it sets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from openrlhf_marge.method.config import MargeConfig
from openrlhf_marge.method.guidance_rules import GUIDANCE_RULES
from openrlhf_marge.planning.devices import Devices, has_reference, method_of

FRESH, SHARE = "--marge.guidance_source fresh", "--marge.share_prefix"


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


def _option(**values: Any) -> Callable[[Any], None]:
    """Sets options of MARGE."""

    def apply(args: Any) -> None:
        args.marge = replace(args.marge, **values)

    return apply


def _can_share(args: Any, devices: Devices) -> bool:
    alone = args.ds.ring_attn_size == args.ds.tensor_parallel_size == 1 and not args.ds.use_liger_kernel
    plain = not args.actor.gradient_checkpointing_reentrant and not args.actor.aux_loss_coef
    config = method_of(args)
    return config is not None and not config.share_prefix and alone and plain


def _can_be_fresh(config: MargeConfig | None) -> bool:
    """Rules that pick once do not go with fresh guidance."""
    if config is None or config.explore != "guided" or config.guidance_source != "carried":
        return False
    return not GUIDANCE_RULES.load(config.guidance_rule).picks_once


CHANGES = (
    Change(SHARE, _can_share, _option(share_prefix=True)),
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
    Change("leave out --actor.gradient_checkpointing_enable", lambda a, d: a.actor.gradient_checkpointing_enable,
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
    Change("leave out --vllm.enforce_eager", lambda a, d: a.vllm.enforce_eager and a.vllm.sync_backend == "nccl",
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
        FRESH,
        lambda a, d: _can_be_fresh(method_of(a)),
        _option(guidance_source="fresh"),
        same_method=False,
    ),
)  # fmt: skip
