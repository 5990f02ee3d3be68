"""Options of the tree search that ``--kind mcts`` of build_pairs reads; defaults are those of MCTS-DPO's script."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from openrlhf_marge.method.flags import option

WITH = "with --marge.explore mcts_dpo: "


@dataclass(frozen=True, kw_only=True)
class MctsOptions:
    """Fields of ``MargeConfig``; in brackets the names of MCTS-DPO's own flags (scripts/mcts_mathqa.sh)."""

    mcts_value: str = option(
        "graded",
        f"{WITH}value of a state, 'graded', the mean reward of its completions, or 'self_evaluation', the probability "
        "by which the model calls the solution right so far; it is shown no gold solution",
        choices=("graded", "self_evaluation"),
    )
    mcts_simulations: int = option(
        64, f"{WITH}walks through the tree for each step that is taken, fourfold for the first (n_iters)", low=1
    )
    mcts_depth: int = option(
        3, f"{WITH}steps that branch, after which a response goes to its end; a walk is as long (depth_limit)", low=1
    )
    mcts_actions: int = option(
        2, f"{WITH}completions of a state whose first steps become its children (n_actions)", low=1
    )
    mcts_breadth: int = option(4, f"{WITH}most children of a state (breadth_limit)", low=1)
    mcts_exploration: float = option(
        1.0, f"{WITH}weight of likely and seldom visited steps against good ones in PUCT (w_exp)", low=0.0
    )
    mcts_length_penalty: float = option(
        1.25, f"{WITH}power of its length that a step's log-likelihood is divided by (mcts_length_penalty)", low=0.0
    )
    mcts_step_tokens: int = option(
        128, f"{WITH}most tokens of a step; it ends before where --marge.split cuts (max_new_tokens)", low=1
    )


def check_mcts(config: Any) -> None:
    """ValueError for a search that would have no steps; ``config`` is the MargeConfig."""
    if config.explore == "mcts_dpo" and config.split == "tokens":
        raise ValueError(
            "--marge.explore mcts_dpo needs steps that end somewhere, and --marge.split tokens has no delimiter; give "
            "--marge.split step, with --marge.step_label"
        )


def check_searched(config: Any, n: int, longest: int) -> None:
    """ValueError where n completions of a state, of up to ``longest`` tokens with it, are too few or too short."""
    if config.explore != "mcts_dpo":
        return
    if config.mcts_value == "graded" and config.mcts_actions > n:
        raise ValueError(
            f"--marge.mcts_actions {config.mcts_actions} is above --rollout.n_samples_per_prompt {n}, the completions "
            "that the steps are of; lower it or sample more"
        )
    if config.mcts_step_tokens >= longest:
        raise ValueError(
            f"--marge.mcts_step_tokens {config.mcts_step_tokens} is as long as the longest response, {longest} "
            "tokens, so a response without delimiters would be one step; lower it, or raise --data.max_len and "
            "--rollout.max_new_tokens"
        )
