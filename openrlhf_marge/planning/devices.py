"""Which process of a launch runs on which device, by its flags; ``args`` is what OpenRLHF's parser made of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from openrlhf_marge.method.config import MargeConfig


def method_of(args: Any) -> MargeConfig | None:
    """The options of MARGE; None for a launch of OpenRLHF's own methods."""
    return getattr(args, "marge", None)


def number_bytes(args: Any) -> int:
    """Bytes of a weight."""
    return 4 if args.ds.param_dtype == "fp32" else 2


def has_reference(args: Any) -> bool:
    """Whether the reference of the KL is a model of its own."""
    config = method_of(args)
    return args.algo.kl.init_coef > 0 and (config is None or config.reference != "iteration")


def is_colocated(args: Any) -> bool:
    """Whether engines and policy share devices; asynchronous training never lets them."""
    return args.train.colocate_all and not args.train.async_enable


@dataclass(frozen=True, kw_only=True)
class Devices:
    """How many each process has; a process that is not there has none."""

    policy: int
    reference: int
    critic: int
    engines: int  # engines x tensor parallel
    total: int  # with what shares devices counted once

    @property
    def engines_apart(self) -> bool:
        return self.total > max(self.policy, self.engines)


def devices_of(args: Any) -> Devices:
    """ValueError where a process that is there has no device, or the launch has one that is not counted here."""
    policy = args.actor.num_nodes * args.actor.num_gpus_per_node
    reference = args.ref.num_nodes * args.ref.num_gpus_per_node if has_reference(args) else 0
    critic = args.critic.num_nodes * args.critic.num_gpus_per_node if args.critic.model_name_or_path else 0
    engines = (args.vllm.num_engines or 0) * args.vllm.tensor_parallel_size
    if policy < 1:
        raise ValueError("--actor.num_nodes x --actor.num_gpus_per_node is 0; give the policy a GPU")
    if engines < 1:
        raise ValueError("--vllm.num_engines is not set or 0; a plan counts on engines")
    config = method_of(args)
    if config and config.replay_dir:
        raise ValueError("--marge.replay_dir samples nothing, and a plan counts on sampling; leave it out")
    if args.algo.dynamic_filtering_enable:
        raise ValueError(
            "--algo.dynamic_filtering_enable samples until enough prompts have passed, which no pilot tells; leave it "
            "out"
        )
    if not args.reward.remote_url:
        raise ValueError("--reward.remote_url is not set; a plan does not count a reward model")
    if args.train.colocate_all:
        total = max(policy, reference, critic) + (engines if args.train.async_enable else 0)
    else:
        total = (max(policy, reference) if args.train.colocate_actor_ref else policy + reference) + critic + engines
    return Devices(policy=policy, reference=reference, critic=critic, engines=engines, total=total)
