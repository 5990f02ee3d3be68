"""Refusals of what cannot work with MARGE: (is it asked for, a sentence that names flag, reason and alternative)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

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
        lambda a: not 0 < a.rollout.temperature < math.inf,
        "--rollout.temperature is not above 0, or no number: at 0 all completions of a state would be the same; the "
        "paper has 0.8",
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
        lambda a: a.train.enable_ema and a.ds.param_dtype != "fp32",
        "--train.enable_ema keeps its average in --ds.param_dtype, whose digits are too few for its small steps: in "
        "bf16 it would stay at the model that training began with; set --ds.param_dtype fp32, or leave it out",
    ),
    (
        lambda a: a.train.enable_ema and a.ds.lora.rank > 0,
        "--train.enable_ema does not work with --ds.lora.rank: the averaged model has no adapters; leave one out",
    ),
    (
        lambda a: a.rollout.n_samples_per_prompt < 2,
        "--rollout.n_samples_per_prompt is below 2: a group of one completion carries no signal; the paper has 8",
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
