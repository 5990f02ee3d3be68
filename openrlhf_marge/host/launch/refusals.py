"""Refusals of what cannot work with MARGE: (is it asked for, a sentence that names flag, reason and alternative)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from openrlhf_marge.method.config import MargeConfig
from openrlhf_marge.method.explorations import EXPLORATIONS
from openrlhf_marge.method.splitters import SPLITTERS
from openrlhf_marge.rewards.domains import MATH

# Host features that MARGE cannot serve.
REFUSED: tuple[tuple[Callable[[Any], bool], str], ...] = (
    (
        lambda a: a.actor.num_nodes * a.actor.num_gpus_per_node < 1,
        "--actor.num_nodes x --actor.num_gpus_per_node is 0, so nothing trains the policy; give it a GPU",
    ),
    (
        lambda a: not a.vllm.num_engines and not a.marge.replay_dir,
        "--vllm.num_engines is not set; MARGE samples through vLLM, so set it",
    ),
    (
        lambda a: a.train.agent_func_path,
        "--train.agent_func_path does not work with MARGE, which completes prefixes of a single turn; "
        "give a reward function with --reward.remote_url",
    ),
    (
        lambda a: a.reward.model_name_or_path and not a.reward.remote_url,
        "--reward.model_name_or_path does not work with MARGE, which needs a verdict in [0, 1] to pick guidance; "
        "give a reward function with --reward.remote_url",
    ),
    (
        lambda a: a.algo.dynamic_filtering_enable,
        "--algo.dynamic_filtering_enable does not work with MARGE: it filters prompts, and MARGE's groups are "
        "states; leave it out",
    ),
    (
        lambda a: a.reward.overlong_buffer_len is not None,
        "--reward.overlong_buffer_len does not work with MARGE: it would count a completion without its guidance "
        "prefix; leave it out",
    ),
    (
        lambda a: a.rollout.vllm_generate_batch_size not in (None, a.rollout.batch_size),
        "--rollout.vllm_generate_batch_size does not work with MARGE, which explores --rollout.batch_size problems "
        "a step; leave it out",
    ),
    (lambda a: a.data.max_images_per_prompt > 0, "--data.max_images_per_prompt does not work with MARGE: text only"),
    (
        lambda a: a.algo.kl.target is not None,
        "--algo.kl.target does not work with MARGE: OpenRLHF's adaptive controller counts a fixed number of samples "
        "a step; set --algo.kl.init_coef alone",
    ),
    (
        lambda a: a.rollout.temperature <= 0,
        "--rollout.temperature is not above 0: all completions of a state would be the same; the paper has 0.8",
    ),
    (
        lambda a: not 0 < a.rollout.top_p <= 1,
        "--rollout.top_p is a share of the probability; give a number above 0 and at most 1",
    ),
    (
        lambda a: a.actor.adam.lr < 0,
        "--actor.adam.lr is below 0, by which the policy would learn what was wrong; give the learning rate",
    ),
    (
        lambda a: a.rollout.n_samples_per_prompt < 2,
        "--rollout.n_samples_per_prompt is below 2: a group of one completion carries no signal; the paper has 8",
    ),
)

UNPLANNED = (
    "and how many states it makes of a problem is not known to the learning-rate schedule; set "
    "--marge.expected_states, to a guess if need be: the first iteration corrects it"
)


def _plans_steps(args: Any, config: MargeConfig) -> bool:
    """Whether the learning-rate schedule counts on the states that the package's own ways would make of a problem."""
    return config.expected_states is None and not config.replay_dir and args.actor.lr_scheduler != "constant"


# What cannot compute common prefixes once: (is it asked for, its flag, the reason).
NOT_SHARED: tuple[tuple[Callable[[Any], bool], str, str], ...] = (
    (lambda a: a.ds.ring_attn_size > 1, "--ds.ring_attn_size above 1", "which cuts rows into parts"),
    (lambda a: a.ds.tensor_parallel_size > 1, "--ds.tensor_parallel_size above 1", "which cuts the model's heads"),
    (lambda a: a.ds.use_liger_kernel, "--ds.use_liger_kernel", "which has attention and logits of its own"),
    (lambda a: a.actor.aux_loss_coef > 0, "--actor.aux_loss_coef", "which counts how experts load every row"),
    (
        lambda a: a.actor.gradient_checkpointing_reentrant,
        "--actor.gradient_checkpointing_reentrant",
        "which forgets the forest between forward and backward",
    ),
)

# Flags of MARGE that do not go with some of the host's.
REFUSED_TOGETHER: tuple[tuple[Callable[[Any, MargeConfig], bool], str], ...] = (
    (
        lambda a, c: c.reference == "episode" and a.ds.lora.rank > 0,
        "--marge.reference episode does not work with --ds.lora.rank: the reference model has no adapters to load",
    ),
    (
        lambda a, c: c.reference == "episode" and a.ds.tensor_parallel_size > 1,
        "--marge.reference episode does not work with --ds.tensor_parallel_size above 1",
    ),
    (
        lambda a, c: c.credits_prefix and a.algo.advantage.is_correction_level != "off",
        "--marge.advantage vine and --marge.prefix_credit train on guidance tokens, whose log-probs in the engine are "
        "not known; leave --algo.advantage.is_correction_level out",
    ),
    (
        lambda a, c: c.skip_saturated and a.reward.stop_properly_penalty_coef is not None,
        "--marge.skip_saturated does not work with --reward.stop_properly_penalty_coef, by which completions of equal "
        "reward differ; leave one out",
    ),
    (
        lambda a, c: c.max_age is not None and bool(c.replay_dir),
        "--marge.max_age does not work with --marge.replay_dir: the dump counts the weight updates of the run that "
        "wrote it; leave one out",
    ),
    (
        lambda a, c: c.max_age == 0 and a.train.async_enable,
        "--marge.max_age 0 does not work with --train.async_enable, which samples while the policy is trained: nearly "
        "every group is an update old; set it to at least 1, or to --train.async_queue_size where that is more",
    ),
    (
        lambda a, c: c.explorers > 1 and not c.replay_dir and c.explorers > (a.vllm.num_engines or 0),
        "--marge.explorers is above --vllm.num_engines: each explorer samples on engines of its own; lower it to the "
        "engines that there are",
    ),
    (
        lambda a, c: c.traits.weighs_tokens and a.reward.stop_properly_penalty_coef is not None,
        "--reward.stop_properly_penalty_coef changes rewards after --marge.explore has weighed the tokens by them; "
        "leave it out",
    ),
    (
        lambda a, c: c.traits.for_pairs and c.explore in EXPLORATIONS.own,
        "--marge.explore mcts_dpo looks for preference pairs, and gives no advantages to train on with rewards; use "
        "cli.marge_dpo --kind mcts, or cli.explore and build_pairs --kind mcts",
    ),
    (
        lambda a, c: c.traits.for_pairs,
        "--marge.explore names an installed exploration that looks for preference pairs, and gives no advantages to "
        "train on with rewards; use cli.explore and build_pairs",
    ),
    (
        lambda a, c: bool(c.dump_dir) and bool(c.replay_dir),
        "--marge.dump_dir does not work with --marge.replay_dir: what is replayed is on disk already",
    ),
    (
        lambda a, c: c.reward != MATH and bool(a.reward.remote_url),
        "--marge.reward does not work with --reward.remote_url: both say what grades the responses; leave one out",
    ),
    *(
        (
            lambda a, c, asked=asked: c.share_prefix and asked(a),
            f"--marge.share_prefix does not work with {flag}, {reason}; leave one out",
        )
        for asked, flag, reason in NOT_SHARED
    ),
    (
        lambda a, c: c.split not in SPLITTERS.own and _plans_steps(a, c),
        f"--marge.split names an installed splitter, {UNPLANNED}",
    ),
    (
        lambda a, c: c.traits.states is None and c.explore not in EXPLORATIONS.own and _plans_steps(a, c),
        f"--marge.explore names an installed exploration, {UNPLANNED}",
    ),
    (
        lambda a, c: c.traits.states is None and _plans_steps(a, c),
        f"--marge.explore names a tree, {UNPLANNED}",
    ),
    (
        lambda a, c: a.ckpt.save_steps > 0 and a.ckpt.max_num < 2,
        "--ckpt.max_num is below 2: OpenRLHF removes the old checkpoint before it writes the new one, so a crash in "
        "between would leave none",
    ),
)

# What the stack cannot do where DS_ACCELERATOR=cpu says that there is no GPU.
REFUSED_ON_CPU: tuple[tuple[Callable[[Any], bool], str], ...] = (
    (
        lambda a: a.vllm.sync_backend != "gloo",
        "--vllm.sync_backend nccl does not work on a CPU; set it to gloo",
    ),
    (
        lambda a: a.vllm.enable_sleep and a.train.colocate_all,
        "--vllm.enable_sleep does not work on a CPU, where vLLM cannot free its memory; leave it out",
    ),
    (
        lambda a: a.ds.enable_sleep and a.ds.zero_stage == 0,
        "--ds.enable_sleep does not work with --ds.zero_stage 0, which has no states to offload; set 1, 2 or 3",
    ),
)
