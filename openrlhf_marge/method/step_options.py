"""Options of the step-level explorations that papers compare with, and what does not go with them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from openrlhf_marge.method.flags import option


@dataclass(frozen=True, kw_only=True)
class StepOptions:
    """Fields of ``MargeConfig``."""

    vine_samples: int = option(
        9, "with --marge.explore vineppo: completions that give the value of a state (VinePPO's K)", low=1
    )
    spo_branches: tuple[int, ...] = option(
        (6, 6, 6), "with --marge.explore spo_tree: children of the root, and of each node of the levels below it"
    )
    spo_segment: int = option(
        30, "with --marge.explore spo_tree: tokens between two levels (30 for short, 600 for long responses)", low=1
    )
    spo_norm: str = option(
        "rloo",
        "with --marge.explore spo_tree: advantage of an edge, 'rloo' the child's value minus the node's, or 'grpo' in "
        "units of the children's standard deviation",
        choices=("rloo", "grpo"),
    )
    spo_edges: int = option(32, "with --marge.explore spo_tree: most edges of a visit that are trained on", low=1)
    spo_sure: float = option(
        0.9,
        "with --marge.explore spo_tree: tokens that were at least so likely are not trained on",
        low=1e-6,
        high=1.0,
    )
    tree_chains: int = option(6, "with --marge.explore tree_rl: responses from s_0 (TreeRL's m)", low=2)
    tree_forks: int = option(2, "with --marge.explore tree_rl: tokens of a response at which it forks (n)", low=0)
    tree_branches: int = option(2, "with --marge.explore tree_rl: completions from a fork (t)", low=1)
    tree_keep: int = option(16, "with --marge.explore tree_rl: leaves that are trained on", low=1)


def check_steps(config: Any) -> None:
    """ValueError for a flag that a strategy with states of its own would not heed; ``config`` is the MargeConfig."""
    if not (config.traits.weighs_tokens or config.traits.for_pairs):
        return
    if not config.spo_branches or min(config.spo_branches) < 2:
        raise ValueError("--marge.spo_branches needs a number per level, each at least 2: one child tells nothing")
    unheeded = {
        "--marge.advantage": config.advantage != "group_norm",
        "--marge.prefix_credit": config.prefix_credit != "none",
        "--marge.state_budget": config.state_budget != "all",
        "--marge.guide_when": config.guide_when != "always",
    }
    for flag, is_given in unheeded.items():
        if is_given:
            raise ValueError(f"--marge.explore {config.explore} has its own advantages and states; leave out {flag}")


def check_segments(config: Any, longest: int) -> None:
    """ValueError for a tree whose segments are as long as the longest response, in tokens."""
    if config.explore == "spo_tree" and len(config.spo_branches) > 1 and config.spo_segment >= longest:
        raise ValueError(
            "--marge.spo_segment is as long as the longest response, so the tree would never branch; lower it, or "
            "raise --data.max_len and --rollout.max_new_tokens"
        )
