"""``args`` of a launch script -> checked and completed for MARGE, before any engine starts.

ValueError with one sentence that names the flag, file or row and the mend; OpenRLHF prints it and exits.
"""

from __future__ import annotations

import os
import runpy
from collections.abc import Callable
from typing import Any

from openrlhf_marge import REWARD_FILE, patches
from openrlhf_marge.checkpoints import repair
from openrlhf_marge.config import MargeConfig, from_namespace
from openrlhf_marge.dump import dump_files
from openrlhf_marge.host.dataset_checks import check_datasets
from openrlhf_marge.host.reward_format import parse_reward

# Host features that MARGE cannot serve: (is it asked for, why not and what to do instead).
REFUSED: tuple[tuple[Callable[[Any], bool], str], ...] = (
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
        lambda a: a.rollout.n_samples_per_prompt < 2,
        "--rollout.n_samples_per_prompt is below 2: a group of one completion carries no signal; the paper has 8",
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
        lambda a, c: bool(c.dump_dir) and bool(c.replay_dir),
        "--marge.dump_dir does not work with --marge.replay_dir: what is replayed is on disk already",
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
        lambda a: a.ds.zero_stage == 3 and a.actor.num_nodes * a.actor.num_gpus_per_node > 1,
        "--ds.zero_stage 3 with several actor ranks gave NaN log-probs on a CPU (cause not found); set 2 or less",
    ),
    (
        lambda a: a.ds.enable_sleep and a.ds.zero_stage == 0,
        "--ds.enable_sleep does not work with --ds.zero_stage 0, which has no states to offload; set 1, 2 or 3",
    ),
)


def check_arguments(args: Any) -> None:
    """Refuse what cannot work, set what MARGE fixes (with a printed line each), read the data once."""
    check_patches()
    config = from_namespace(args.marge)
    on_cpu = os.environ.get("DS_ACCELERATOR") == "cpu"
    for is_asked_for, sentence in REFUSED + (REFUSED_ON_CPU if on_cpu else ()):
        if is_asked_for(args):
            raise ValueError(sentence)
    for is_asked_for, sentence in REFUSED_TOGETHER:
        if is_asked_for(args, config):
            raise ValueError(sentence)
    if config.replay_dir:
        dump_files(config.replay_dir)
    _check_batch_sizes(args)
    _repair_checkpoints(args)
    _complete(args, config.reference)
    check_reward_file(args.reward.remote_url)
    check_datasets(args)


def _repair_checkpoints(args: Any) -> None:
    """``--ckpt.load_enable`` goes on from the last complete checkpoint, or starts anew where there is none yet."""
    if args.ckpt.load_enable and os.path.isdir(os.path.join(args.ckpt.path, "_actor")):
        tag = repair(args.ckpt.path)
        if tag is None:
            print(f"[marge] --ckpt.load_enable: {args.ckpt.path} holds no complete checkpoint, so the run starts anew")
            args.ckpt.load_enable = False
        else:
            print(f"[marge] --ckpt.load_enable: the last complete checkpoint is {tag}")


def check_patches() -> None:
    """OpenRLHF must be of a version that the patches fit, and carry the patches of this very package."""
    try:
        mend = patches.report().mend
    except patches.PatchError as e:
        raise ValueError(f"--experience_maker marge: {e}") from e
    if mend:
        raise ValueError(f"--experience_maker marge: OpenRLHF does not carry this package's patches; {mend}")


def _check_batch_sizes(args: Any) -> None:
    """Whole groups must fill whole training batches, and these whole micro-batches on every rank."""
    n, batch = args.rollout.n_samples_per_prompt, args.train.batch_size
    gpus = args.actor.num_nodes * args.actor.num_gpus_per_node
    ranks = gpus // args.ds.ring_attn_size // args.ds.tensor_parallel_size
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


def _complete(args: Any, reference: str) -> None:
    """Set the host flags that the method fixes; each change is said."""
    _set(args.algo.advantage, "estimator", "group_norm", "--algo.advantage.estimator", "in a state's group, Eq. 4")
    _set(args.vllm, "enable_prefix_caching", True, "--vllm.enable_prefix_caching", "nested states share prefixes")
    if reference == "iteration" and args.algo.kl.init_coef > 0:
        _set(args.algo.kl, "use_loss", True, "--algo.kl.use_loss", "with --marge.reference iteration, Eq. 4")
        if args.algo.kl.estimator == "k1" and not args.algo.kl.unbiased_gradient:
            _set(args.algo.kl, "estimator", "k3", "--algo.kl.estimator", "k1 as a loss has no gradient on average")
    if not args.reward.remote_url:
        _set(args.reward, "remote_url", REWARD_FILE, "--reward.remote_url", "MARGE's math grader")


def _set(namespace: Any, name: str, value: Any, flag: str, why: str) -> None:
    if getattr(namespace, name) != value:
        print(f"[marge] {flag} is set to {value} ({why})")
        setattr(namespace, name, value)


def check_reward_file(remote_url: str) -> None:
    """A .py reward must exist, load, define ``reward_func`` and return a reward in [0, 1] for an empty response.

    It is asked about a problem of ours: when it raises on that, it may still be right about the real ones.
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
        returned = reward_func(["What is 1+1?"], ["What is 1+1?"], ["2"])
    except Exception as e:  # noqa: BLE001 - see above
        print(f"[marge] --reward.remote_url {path} raised {e!r} on a trial; in the run that would stop it")
        return
    try:
        parse_reward(returned)
    except ValueError as e:
        raise ValueError(f"--reward.remote_url {path}: {e}") from e
