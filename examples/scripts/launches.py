"""A backbone and a method -> flags of OpenRLHF's launch, or of cli.marge_dpo (App. B.1 to B.4, Tables 1 and 6)."""

from __future__ import annotations

import shlex
from collections.abc import Mapping

from backbones import COMPLETIONS, EPISODES, Backbone

from openrlhf_marge import REWARD_FILE

SHARED = f"--rollout.n_samples_per_prompt {COMPLETIONS} --algo.kl.init_coef 0.01".split()
# App. B.1; "the parameters of GRPO are the same as our method" (App. B.2).
OURS = (
    *("--rollout.batch_size", "2048", "--train.batch_size", "1024", "--train.max_epochs", "2"),
    *("--rollout.temperature", "0.8", "--rollout.top_p", "0.95", "--actor.adam.lr", "1e-6"),
    *("--algo.kl.use_loss", "--algo.kl.estimator", "k3"),
)
# Table 6.
TABLE_6 = (
    *("--train.batch_size", "512", "--rollout.temperature", "1.0", "--rollout.top_p", "1.0"),
    *("--actor.adam.lr", "5e-7", "--actor.eps_clip", "0.2", "--algo.advantage.gamma", "1"),
)
OF_METHOD: Mapping[str, tuple[str, ...]] = {
    "marge": OURS,
    "grpo": OURS,
    "ppo": (*TABLE_6, "--rollout.batch_size", "64", "--critic.adam.lr", "9e-6"),
    "reinforce_pp": (*TABLE_6, "--rollout.batch_size", "128"),
}
# What makes the method; a compare file says it by its kind.
KIND: Mapping[str, tuple[str, ...]] = {
    "marge": ("--experience_maker", "marge"),
    "grpo": ("--algo.advantage.estimator", "group_norm"),
    "ppo": ("--algo.advantage.estimator", "gae"),
    "reinforce_pp": ("--algo.advantage.estimator", "reinforce"),
}
LOOP_KIND: Mapping[str, str] = {
    "sft": "sft", "dpo": "outcome", "marge_dpo": "marge", "self_explore": "self_explore",
    "mcts_step_dpo": "mcts_steps",
}  # fmt: skip


def shared_flags(backbone: Backbone, model: str, data: str, reward: str) -> list[str]:
    """What all methods of train_ppo_ray have in common."""
    return [
        *("--actor.model_name_or_path", model, "--data.prompt_dataset", data, *backbone.input_flags),
        *("--reward.remote_url", reward, "--data.max_len", str(backbone.max_len)),
        *(*backbone.hardware.launch.split(), *SHARED),
        *("--ckpt.save_steps", "20"),
    ]


def method_flags(backbone: Backbone, method: str) -> list[str]:
    """A method's own, without what makes the method."""
    flags = list(OF_METHOD[method])
    if method == "marge":
        flags += [*backbone.split_flags, "--marge.expected_states", f"{backbone.states:g}"]
        flags += ["--marge.share_prefix"] * backbone.shares_prefixes
    return [*flags, *backbone.of_all, *(backbone.of_marge if method == "marge" else ())]


def launch(backbone: Backbone, method: str, model: str, data: str, out: str) -> list[str]:
    """All flags of train_ppo_ray."""
    return [
        *shared_flags(backbone, model, data, REWARD_FILE), *KIND[method], "--train.num_episodes", str(EPISODES),
        *method_flags(backbone, method),
        *("--ckpt.path", f"{out}/checkpoints", "--ckpt.output_dir", f"{out}/model"),
        *("--logger.logging_steps", "1", "--logger.tensorboard_dir", f"{out}/tensorboard"),
        *("--logger.wandb.run_name", out.rpartition("/")[2]),
    ]  # fmt: skip


def problem_flags(backbone: Backbone, data: str) -> list[str]:
    """Of cli.explore in a loop: the problems, and what the machine asks for."""
    inputs = ("--data.prompt_dataset", data, *backbone.input_flags)
    return [*inputs, "--data.max_len", str(backbone.max_len), *backbone.hardware.explore.split()]


def split_of(backbone: Backbone, method: str) -> tuple[str, ...]:
    """Of cli.explore in a loop: what samples from s_0 alone has one state; a tree search cuts at step labels."""
    if method == "mcts_step_dpo":
        return ()
    is_guided = method in ("marge_dpo", "self_explore")
    return backbone.split_flags if is_guided else ("--marge.split", "tokens", "--marge.n_states", "1")


def heldout_flags(backbone: Backbone) -> str:
    """Of cli.evaluate in a loop."""
    return f"--input_key problem --prompt {backbone.prompt} --max_len {backbone.max_len}"


def train_flags(backbone: Backbone) -> list[str]:
    """Of train_dpo and train_sft in a loop."""
    return [*backbone.hardware.train.split(), "--logger.logging_steps", "1"]


def reference_flags(method: str) -> list[str]:
    """SFT has no reference."""
    return [] if method == "sft" else ["--ref.offload"]


def loop(backbone: Backbone, method: str, model: str, data: str, heldout: str, out: str, more: list[str]) -> list[str]:
    """All flags of cli.marge_dpo; ``more`` are further ones of its training."""
    return [
        *("--kind", LOOP_KIND[method], "--iterations", str(EPISODES), "--patience", "1"),
        *("--model", model, "--heldout", heldout, "--out", out),
        *("--explore", shlex.join([*problem_flags(backbone, data), *split_of(backbone, method)])),
        *("--train", shlex.join([*train_flags(backbone), *reference_flags(method), *more])),
        *("--evaluate", heldout_flags(backbone)),
    ]
