"""Flags of the host that MARGE sets; each change is printed."""

from __future__ import annotations

import os
from typing import Any

from openrlhf_marge import REWARD_FILE
from openrlhf_marge.host.domain_rewards import write_reward_file
from openrlhf_marge.method.config import MargeConfig
from openrlhf_marge.rewards.domains import MATH


def fix_flags(args: Any, config: MargeConfig) -> None:
    """Those of a launch."""
    _set(args.algo.advantage, "estimator", "group_norm", "--algo.advantage.estimator", "in a state's group, Eq. 4")
    _set(args.vllm, "enable_prefix_caching", True, "--vllm.enable_prefix_caching", "nested states share prefixes")
    if config.reference == "iteration" and args.algo.kl.init_coef > 0:
        _set(args.algo.kl, "use_loss", True, "--algo.kl.use_loss", "with --marge.reference iteration, Eq. 4")
        if args.algo.kl.estimator == "k1" and not args.algo.kl.unbiased_gradient:
            _set(args.algo.kl, "estimator", "k3", "--algo.kl.estimator", "k1 as a loss has no gradient on average")
        if args.train.colocate_actor_ref or args.train.colocate_all:
            # OpenRLHF asks it of colocated launches before it knows whether a reference model is made.
            why = "the actor's, for a reference model that --marge.reference iteration does not make"
            for name in ("num_nodes", "num_gpus_per_node"):
                _set(args.ref, name, getattr(args.actor, name), f"--ref.{name}", why)
    complete_for_cpu(args)
    complete_reward(args, config, args.ckpt.path)


def complete_for_cpu(args: Any) -> None:
    """The environment that the package gives the stack on a CPU (``runs/cpu.py``) has no torch.compile."""
    if os.environ.get("DS_ACCELERATOR") == "cpu":
        _set(args.vllm, "enforce_eager", True, "--vllm.enforce_eager", "DS_ACCELERATOR=cpu")


def complete_reward(args: Any, config: MargeConfig, folder: str) -> None:
    """Let ``--reward.remote_url`` name what ``--marge.reward`` asks for, in a file of its own below ``folder``."""
    if config.reward != MATH:
        path = write_reward_file(folder, config.reward)
        _set(args.reward, "remote_url", path, "--reward.remote_url", f"--marge.reward {config.reward}")
    elif not args.reward.remote_url:
        _set(args.reward, "remote_url", REWARD_FILE, "--reward.remote_url", "MARGE's math grader")


def _set(namespace: Any, name: str, value: Any, flag: str, why: str) -> None:
    if getattr(namespace, name) != value:
        print(f"[marge] {flag} is set to {value} ({why})")
        setattr(namespace, name, value)
