"""Explores a data set with a model on vLLM engines through Ray, without training.

    python -m openrlhf_marge.cli.explore --actor.model_name_or_path MODEL --data.prompt_dataset DATA --out DIR ...

Finds guidance for every problem, samples completions from every state of it and grades them, as a step of training
does. DIR gets the completions as Parquet files (as --marge.dump_dir; for build_pairs, --marge.replay_dir) and
summary.json. Flags have the names and meanings that they have in openrlhf.cli.train_ppo_ray; where the defaults
differ, they are the paper's. The same command goes on where it was stopped. Exit status: 0, 1 when an engine or the
reward function fails, 2 for bad input, 143 when ended by SIGTERM.
"""

from __future__ import annotations

import argparse
import signal
import sys
from functools import partial
from pathlib import Path
from typing import Any

from openrlhf_marge.cli.exits import exit_status
from openrlhf_marge.data.files import check_out_folder, write_json
from openrlhf_marge.exploration import Totals, check_settings, only_one, write_settings
from openrlhf_marge.method import config
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
    "reward.remote_url": (str, None, "reward function or servers; the package's grader without it"),
    "train.seed": (int, 42, "seed of every choice"),
    "train.full_determinism_enable": (bool, False, "a seed for every request, so that the same flags give the same"),
    "use_ms": (bool, False, "data sets from ModelScope"),
}
# What only training has a use for, and what --out stands for.
WITHOUT = ("advantage", "prefix_credit", "reference", "expected_states", "dump_dir", "replay_dir")
# These may change when an exploration goes on: they decide where and how fast, not what.
FREE = ("vllm.num_engines", "vllm.tensor_parallel_size", "vllm.gpu_memory_utilization", "problems_in_flight")


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="explore", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
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
    config.add_arguments(parser, WITHOUT)
    return parser


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Flat, as argparse has it, ranges checked."""
    parser = make_parser()
    args = parser.parse_args(argv)
    for name in ("rollout.n_samples_per_prompt", "vllm.num_engines", "problems_in_flight", "problems_per_file"):
        if getattr(args, name) < 1:
            parser.error(f"--{name} is {getattr(args, name)}; it must be at least 1")
    if getattr(args, "marge.reward") != MATH and getattr(args, "reward.remote_url"):
        parser.error("--marge.reward does not work with --reward.remote_url; leave one out")
    return args


def explore(flat: argparse.Namespace) -> Totals:
    """Explore; ValueError for bad input."""
    from openrlhf.utils.config import hierarchize

    args = hierarchize(flat)
    # Refuses bad values before anything is written.
    config.from_namespace(args.marge).check_completions(args.rollout.n_samples_per_prompt)
    out = Path(args.out)
    check_out_folder(out)
    settings = {f"--{k}": v for k, v in vars(flat).items() if k not in {"out", *FREE}}
    check_settings(out / "settings.json", settings)
    from openrlhf_marge.host.standalone.explore import explore_data

    out.mkdir(parents=True, exist_ok=True)
    with only_one(out):
        totals = explore_data(args, partial(write_settings, out / "settings.json", settings))
    if not totals.states:
        raise ValueError(f"none of the {totals.problems} problems gave a state: {problems_left_out(totals)}")
    write_json(out / "summary.json", totals.as_dict())
    return totals


def problems_left_out(totals: Totals) -> str:
    return (
        f"{totals.problems_without_guidance} had no response that could guide, {totals.problems_without_room} no room "
        "for a response in --data.max_len and --rollout.max_new_tokens"
    )


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that the engines are ended, too
    # What fails is an engine or the reward function.
    return exit_status("explore", lambda: described(args, explore(args)), "; the same command goes on where it was")


def described(args: argparse.Namespace, totals: Totals) -> str:
    """What was explored."""
    return (
        f"{args.out}: {totals.problems} problems, {totals.states} states, {totals.completions} completions, "
        f"{totals.generated_tokens} generated tokens; {problems_left_out(totals)}"
    )


if __name__ == "__main__":
    sys.exit(main())
