"""The flags of ``explore``: names and meanings of openrlhf.cli.train_ppo_ray's, and ``--marge.*``."""

from __future__ import annotations

import argparse
import math
from typing import Any

from openrlhf_marge.method.arguments import add_arguments
from openrlhf_marge.rewards.domains import MATH

# flag -> (type, default, help); bool is a switch, and ... stands for a flag that must be given
FLAGS: dict[str, tuple[Any, Any, str]] = {
    "actor.model_name_or_path": (str, ..., "the model, a folder or a name on the hub"),
    "data.prompt_dataset": (str, ..., "file, folder or hub data set of the problems"),
    "data.label_key": (str, ..., "column of the gold answer"),
    "data.input_key": (str, "input", "column of the problem"),
    "data.prompt_split": (str, "train", "split of the data set"),
    "data.prompt_probs": (str, None, "sampling probabilities of several data sets"),
    "data.apply_chat_template": (bool, False, "apply the tokenizer's chat template"),
    "data.input_template": (str, None, "template with {} for the problem, in place of a chat template"),
    "data.max_len": (int, 2048, "tokens of prompt and response"),
    "data.max_samples": (int, 10**8, "most problems"),
    "data.disable_fast_tokenizer": (bool, False, "use the slow tokenizer"),
    "rollout.n_samples_per_prompt": (int, 8, "completions per state"),
    "rollout.max_new_tokens": (int, None, "tokens of a response, up to --data.max_len without it"),
    "rollout.temperature": (float, 0.8, "sampling temperature"),
    "rollout.top_p": (float, 0.95, "nucleus"),
    "vllm.num_engines": (int, 1, "vLLM engines"),
    "vllm.tensor_parallel_size": (int, 1, "GPUs per engine"),
    "vllm.gpu_memory_utilization": (float, 0.95, "share of a GPU's memory that an engine takes"),
    "vllm.enforce_eager": (bool, False, "no CUDA graphs"),
    "ds.param_dtype": (str, "bf16", "bf16, fp16 or fp32; CPUs without bfloat16 are many times faster with fp32"),
    "reward.remote_url": (str, None, "reward function or servers; the package's grader without it"),
    "train.seed": (int, 42, "seed of every choice"),
    "train.full_determinism_enable": (bool, False, "a seed for every request, so that the same flags give the same"),
    "use_ms": (bool, False, "data sets from ModelScope"),
}
DTYPES = ("bf16", "fp16", "fp32")
# What only training has a use for, and what --out stands for.
WITHOUT = (
    "advantage",
    "prefix_credit",
    "negative_weight",
    "reference",
    "expected_states",
    "skip_saturated",
    "max_age",
    "explorers",
    "share_prefix",
    "dump_dir",
    "replay_dir",
)
# These may change when an exploration goes on: they decide where and how fast, not what.
FREE = ("vllm.num_engines", "vllm.tensor_parallel_size", "vllm.gpu_memory_utilization", "problems_in_flight")


def make_parser(description: str = "") -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="explore", description=description, formatter_class=argparse.RawDescriptionHelpFormatter,
        usage="%(prog)s --out DIR [flags]  (--help lists them)",
    )  # fmt: skip
    parser.add_argument("--out", required=True, help="folder to write; one that was begun goes on")
    parser.add_argument("--guidance_from", help="--out of an earlier exploration: its guidance is the first one here")
    for name, (kind, default, text) in FLAGS.items():
        if kind is bool:
            parser.add_argument(f"--{name}", action="store_true", help=text)
        elif default is ...:
            parser.add_argument(f"--{name}", type=kind, required=True, help=text)
        else:
            parser.add_argument(f"--{name}", type=kind, default=default, help=f"{text} [{default}]")
    add = parser.add_argument
    add("--problems_in_flight", type=int, default=64, help="problems explored at once, per engine [%(default)s]")
    add("--problems_per_file", type=int, default=256, help="problems of a Parquet file [%(default)s]")
    add("--max_generated_tokens", type=int, help="begin no further problem after so many; all problems without it")
    add_arguments(parser, WITHOUT)
    return parser


def parse_args(argv: list[str] | None, description: str = "") -> argparse.Namespace:
    """Flat, as argparse has it, ranges checked."""
    parser = make_parser(description)
    args = parser.parse_args(argv)
    for name in ("rollout.n_samples_per_prompt", "vllm.num_engines", "problems_in_flight", "problems_per_file"):
        if getattr(args, name) < 1:
            parser.error(f"--{name} is {getattr(args, name)}; it must be at least 1")
    if not 0 < getattr(args, "rollout.temperature") < math.inf:
        parser.error("--rollout.temperature is no number above 0; the paper has 0.8")
    if not 0 < getattr(args, "rollout.top_p") <= 1:
        parser.error("--rollout.top_p is a share of the probability; give a number above 0 and at most 1")
    if (dtype := getattr(args, "ds.param_dtype")) not in DTYPES:
        parser.error(f"--ds.param_dtype is {dtype!r}; it must be one of {', '.join(DTYPES)}")
    if getattr(args, "marge.reward") not in (None, MATH) and getattr(args, "reward.remote_url"):
        parser.error("--marge.reward does not work with --reward.remote_url; leave one out")
    return args
