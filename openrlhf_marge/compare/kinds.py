"""The ready kinds of methods and the flags that make them."""

from __future__ import annotations

from collections.abc import Mapping

# With the KL in the loss, as GRPO has it (k3) and as OpenRLHF's own script of REINFORCE++-baseline has it (k2).
KL_LOSS = {estimator: ("--algo.kl.use_loss", "--algo.kl.estimator", estimator) for estimator in ("k2", "k3")}


def _estimator(name: str, *more: str) -> tuple[str, ...]:
    return ("--algo.advantage.estimator", name, *more)


# Kind -> flags of train_ppo_ray.
TRAINED: Mapping[str, tuple[str, ...]] = {
    "marge": ("--experience_maker", "marge"),
    "vanilla": ("--experience_maker", "marge", "--marge.explore", "vanilla"),
    "ppo": _estimator("gae"),
    "reinforce++": _estimator("reinforce"),
    "reinforce++-baseline": _estimator("reinforce_baseline", *KL_LOSS["k2"]),
    "rloo": _estimator("rloo"),
    "grpo": _estimator("group_norm", *KL_LOSS["k3"]),
    "dr_grpo": _estimator("dr_grpo", *KL_LOSS["k3"]),
}
# Kind -> --kind of cli.marge_dpo.
LOOPED: Mapping[str, str] = {
    "marge_dpo": "marge", "self_explore": "self_explore", "dpo": "outcome", "sft": "sft", "mcts_dpo": "mcts",
    "mcts_step_dpo": "mcts_steps",
}  # fmt: skip
