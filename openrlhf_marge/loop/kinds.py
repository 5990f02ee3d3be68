"""The methods that the loop runs: how they explore, which rows they build, and which trainer reads those rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from openrlhf_marge.pairs.base import DPO, SFT, Trainer
from openrlhf_marge.pairs.registry import BUILDERS

# The paper's settings (Sec. 4.1, App. B.1 and B.2).
PAPER_FLAGS = {
    DPO.module: ("--model.beta", "0.4", "--adam.lr", "5e-7", "--train.batch_size", "256", "--train.max_epochs", "4"),
    SFT.module: ("--adam.lr", "5e-6", "--train.batch_size", "128"),
}
VANILLA = ("--marge.explore", "vanilla")


@dataclass(frozen=True, kw_only=True)
class LoopKind:
    """Defaults; flags that the user gives come after them, and win."""

    pairs: str  # --kind of build_pairs
    explore_flags: tuple[str, ...] = ()
    pairs_flags: tuple[str, ...] = ()
    own_train_flags: tuple[str, ...] = ()  # in place of this paper's
    first_is_reference: bool = False  # of all iterations; else the policy that each of them begins with

    @property
    def trainer(self) -> Trainer:
        return BUILDERS.own[self.pairs].trainer

    @property
    def train_flags(self) -> tuple[str, ...]:
        return self.own_train_flags or PAPER_FLAGS[self.trainer.module]


# MCTS-DPO's script mcts_mathqa.sh, which takes a step every 64 problems, with up to 8 pairs of each.
MCTS_EXPLORE = ("--marge.explore", "mcts_dpo", "--rollout.temperature", "1.0", "--rollout.top_p", "1.0")
MCTS_TRAIN = (
    *("--model.beta", "0.1", "--adam.lr", "1e-6", "--adam.weight_decay", "0.05", "--lr_scheduler", "cosine"),
    *("--lr_warmup_ratio", "0.03", "--train.batch_size", "64", "--train.max_epochs", "1"),
)
MCTS: Mapping[str, Any] = {
    "explore_flags": MCTS_EXPLORE, "own_train_flags": MCTS_TRAIN, "first_is_reference": True,
}  # fmt: skip

KINDS = {
    "marge": LoopKind(pairs="marge"),
    # k = 4 completions from every step of an incorrect response (arXiv 2404.10346).
    "self_explore": LoopKind(
        pairs="self_explore",
        explore_flags=(
            *("--marge.guidance_rule", "incorrect", "--marge.guidance_source", "fresh"),
            *("--rollout.n_samples_per_prompt", "4"),
        ),
    ),
    "outcome": LoopKind(pairs="outcome", explore_flags=VANILLA),
    # One random correct response per problem (App. B.2).
    "sft": LoopKind(pairs="sft", explore_flags=VANILLA, pairs_flags=("--responses_per_state", "1")),
    "mcts": LoopKind(pairs="mcts", **MCTS),
    "mcts_steps": LoopKind(pairs="mcts_steps", **MCTS),
}
