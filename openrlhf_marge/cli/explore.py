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
from dataclasses import asdict
from functools import partial
from pathlib import Path

from openrlhf_marge.cli.exits import exit_status
from openrlhf_marge.data.files import check_out_folder, write_json
from openrlhf_marge.data.plurals import counted
from openrlhf_marge.exploration import Totals, check_settings, only_one, write_settings
from openrlhf_marge.exploration.flags import FREE, parse_args
from openrlhf_marge.method.arguments import from_namespace, preset_sentence
from openrlhf_marge.method.config import PREFIX


def explore(flat: argparse.Namespace) -> Totals:
    """Explore; ValueError for bad input."""
    from openrlhf_marge.host.standalone.explore import explore_data, hierarchize

    args = hierarchize(flat)
    # Refuses bad values before anything is written.
    if sentence := preset_sentence(args.marge):
        print(f"explore: {sentence}")
    args.marge = from_namespace(args.marge)
    rollout = args.rollout
    args.marge.check_completions(rollout.n_samples_per_prompt, args.data.max_len, rollout.max_new_tokens)
    out = Path(args.out)
    check_out_folder(out)
    decided = {f"{PREFIX}{name}": value for name, value in asdict(args.marge).items()}  # preset and defaults
    settings = {f"--{k}": decided.get(k, v) for k, v in vars(flat).items() if k not in {"out", *FREE}}
    check_settings(out / "settings.json", settings)
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
    args = parse_args(argv, __doc__)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that the engines are ended, too
    # What fails is an engine or the reward function.
    return exit_status("explore", lambda: described(args, explore(args)), "; the same command goes on where it was")


def described(args: argparse.Namespace, totals: Totals) -> str:
    """What was explored."""
    return (
        f"{args.out}: {counted(totals.problems, 'problem')}, {counted(totals.states, 'state')}, "
        f"{counted(totals.completions, 'completion')}, {counted(totals.generated_tokens, 'generated token')}; "
        f"{problems_left_out(totals)}"
    )


if __name__ == "__main__":
    sys.exit(main())
