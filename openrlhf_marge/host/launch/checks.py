"""``args`` of a launch script -> checked and completed for MARGE, before any engine starts.

ValueError with one sentence that names the flag, file or row and the mend; OpenRLHF prints it and exits.
"""

from __future__ import annotations

import os
import runpy
from pathlib import Path
from typing import Any

from transformers import AutoConfig

from openrlhf_marge import patches
from openrlhf_marge.data.dump import dump_files
from openrlhf_marge.host.launch.dataset_checks import check_datasets
from openrlhf_marge.host.launch.fixed_flags import fix_flags
from openrlhf_marge.host.launch.numbers import check_numbers
from openrlhf_marge.host.launch.prompt_checks import check_template, read_prompts, show_prompt
from openrlhf_marge.host.launch.refusals import REFUSED, REFUSED_ON_CPU
from openrlhf_marge.host.launch.refusals_together import REFUSED_TOGETHER
from openrlhf_marge.host.rollout import tokens
from openrlhf_marge.host.rollout.data import data_ranks
from openrlhf_marge.method.arguments import from_namespace, preset_sentence
from openrlhf_marge.method.config import MargeConfig
from openrlhf_marge.prefix_sharing.models import check_config
from openrlhf_marge.rewards.domains import BadReward
from openrlhf_marge.rewards.returned import parse_reward
from openrlhf_marge.runs.checkpoints import repair


def check_arguments(args: Any) -> None:
    """Refuse what cannot work, set what MARGE fixes (with a printed line each), read the data once.

    ``args.marge`` is the checked ``MargeConfig`` from here on.
    """
    patches.require("--experience_maker marge")
    check_numbers(vars(args))
    if sentence := preset_sentence(args.marge):
        print(f"[marge] {sentence}")
    config = args.marge = from_namespace(args.marge)
    on_cpu = os.environ.get("DS_ACCELERATOR") == "cpu"
    for is_asked_for, sentence in REFUSED + (REFUSED_ON_CPU if on_cpu else ()):
        if is_asked_for(args):
            raise ValueError(sentence)
    for are_asked_for, sentence in REFUSED_TOGETHER:
        if are_asked_for(args, config):
            raise ValueError(sentence)
    config.check_completions(args.rollout.n_samples_per_prompt, args.data.max_len, args.rollout.max_new_tokens)
    if config.replay_dir:
        check_replay(config.replay_dir)
    if config.dump_dir and not args.ckpt.load_enable and any(Path(config.dump_dir).glob("rollout-*.parquet")):
        raise ValueError(f"--marge.dump_dir {config.dump_dir} holds the files of another run; give an empty folder")
    _check_batch_sizes(args)
    _repair_checkpoints(args)
    fix_flags(args, config)
    check_template(args.data)
    rows = check_datasets(args)
    check_reward_file(args.reward.remote_url, str(rows[0][args.data.label_key]))
    _check_tokenizer(args, config, rows)
    _check_shared(args, config)


def _check_shared(args: Any, config: MargeConfig) -> None:
    """``--marge.share_prefix`` and a model on this disk whose config rules it out; others are seen when loaded."""
    model = args.actor.model_name_or_path
    if config.share_prefix and model and os.path.isfile(os.path.join(model, "config.json")):
        check_config(AutoConfig.from_pretrained(model, trust_remote_code=False))


def _check_tokenizer(args: Any, config: MargeConfig, rows: Any) -> None:
    """A model that is on this disk must give ``--marge.cot_prefix`` back, and its first prompt is shown.

    With others the run's first step sees what is wrong.
    """
    model = args.actor.model_name_or_path
    if model and os.path.isdir(model) and not config.replay_dir:
        tokenizer = tokens.load_tokenizer(args)
        tokens.s0_token_ids(tokenizer, config)
        prompt = read_prompts(args, rows.select([0]), tokenizer).prompts[0]
        show_prompt(tokenizer, config, prompt, chat=args.data.apply_chat_template)


def check_replay(folder: str) -> None:
    try:
        dump_files(folder)
    except ValueError as e:
        raise ValueError(f"--marge.replay_dir {e}") from e


def _repair_checkpoints(args: Any) -> None:
    """``--ckpt.load_enable`` goes on from the last complete checkpoint, or starts anew where there is none yet."""
    if args.ckpt.load_enable and os.path.isdir(os.path.join(args.ckpt.path, "_actor")):
        tag = repair(args.ckpt.path)
        if tag is None:
            print(f"[marge] --ckpt.load_enable: {args.ckpt.path} holds no complete checkpoint, so the run starts anew")
            args.ckpt.load_enable = False
        else:
            print(f"[marge] --ckpt.load_enable: the last complete checkpoint is {tag}")


def _check_batch_sizes(args: Any) -> None:
    """Whole groups must fill whole training batches, and these whole micro-batches on every rank."""
    n, batch = args.rollout.n_samples_per_prompt, args.train.batch_size
    ranks = data_ranks(args)
    per_rank = args.rollout.micro_batch_size * ranks
    if batch % n:
        raise ValueError(
            f"--train.batch_size {batch} is not a multiple of --rollout.n_samples_per_prompt {n}; "
            "a training batch is made of whole groups"
        )
    if batch % per_rank:
        raise ValueError(
            f"--train.batch_size {batch} is not a multiple of --rollout.micro_batch_size x actor ranks "
            f"= {args.rollout.micro_batch_size} x {ranks}; choose sizes that divide"
        )


def check_reward_file(remote_url: str, label: str) -> None:
    """A .py reward must exist, load, define ``reward_func`` and return a reward in [0, 1] for an empty response.

    It is asked about a problem of ours with a label of the data: when it raises on that, it may still be right about
    the real ones.
    """
    path = remote_url.split(",")[0]
    if not path.endswith(".py"):
        return
    if not os.path.isfile(path):
        raise ValueError(f"--reward.remote_url {path}: there is no such file")
    try:
        reward_func = runpy.run_path(path)["reward_func"]
    except Exception as e:
        raise ValueError(f"--reward.remote_url {path} does not load or defines no reward_func: {e!r}") from e
    try:
        returned = reward_func(["What is 1+1?"], ["What is 1+1?"], [label])
    except BadReward as e:
        raise ValueError(str(e)) from e
    except Exception as e:  # noqa: BLE001 - see above
        print(f"[marge] --reward.remote_url {path} raised {e!r} on a trial; in the run that would stop it")
        return
    try:
        parse_reward(returned)
    except ValueError as e:
        raise ValueError(f"--reward.remote_url {path}: {e}") from e
