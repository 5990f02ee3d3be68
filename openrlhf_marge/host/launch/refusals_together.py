"""Refusals of flags of MARGE with others: (is it asked for, a sentence that names flag, reason and alternative)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from openrlhf_marge.method.config import MargeConfig
from openrlhf_marge.method.explorations import EXPLORATIONS
from openrlhf_marge.method.splitters import SPLITTERS
from openrlhf_marge.rewards.domains import MATH

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
        lambda a, c: c.reference == "episode" and not a.algo.kl.init_coef > 0,
        "--marge.reference episode has no effect with --algo.kl.init_coef 0, for which there is no reference model; "
        "leave it out",
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
        lambda a, c: c.credits_prefix and a.reward.stop_properly_penalty_coef is not None,
        "--reward.stop_properly_penalty_coef changes rewards after --marge.advantage vine or --marge.prefix_credit "
        "has valued the guidance by them; leave it out",
    ),
    (
        lambda a, c: (c.traits.weighs_tokens or c.credits_prefix) and a.actor.policy_loss_type == "gspo",
        "--actor.policy_loss_type gspo has one ratio for a response, so every token would get the mean of the "
        "advantages that --marge.explore, --marge.advantage vine or --marge.prefix_credit give it; leave it out",
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
