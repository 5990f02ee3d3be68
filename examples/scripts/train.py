"""Trains a backbone of the paper with a method, by the settings in backbones.py; sourced, not run on GPUs.

    DATA=data/train.jsonl python examples/scripts/train.py qwen2_7b marge [FLAGS OF THE TRAINING]
    DATA=data/train.jsonl HELDOUT=data/heldout.jsonl python examples/scripts/train.py llama31_8b marge_dpo

marge, grpo, ppo and reinforce_pp are submitted to Ray, as launches of OpenRLHF's train_ppo_ray; the loops sft, dpo,
marge_dpo, self_explore and mcts_step_dpo run here, and go on where they were stopped. FLAGS come last and win. In the
environment:

    DATA, HELDOUT  JSONL files as training_data.py writes them; HELDOUT for loops
    MODEL          in place of the backbone's own
    OUT            run folder [runs/BACKBONE_METHOD]
    RAY            address of the Ray dashboard [http://127.0.0.1:8265]
    WANDB_API_KEY  logs to W&B, too, where it is set here and, before "ray start", on the nodes: a key among the flags
                   would be in what OpenRLHF and Ray print and keep
    DRY_RUN        set to 1 to print the command instead of running it
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from pathlib import Path

from backbones import BACKBONES, Backbone
from launches import KIND, LOOP_KIND, launch, loop

from openrlhf_marge.data.files import write_json
from openrlhf_marge.data.redaction import redacted_words
from openrlhf_marge.runs.folder import flag_values


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("backbone", choices=BACKBONES)
    parser.add_argument("method", choices=[*KIND, *LOOP_KIND])
    args, args.flags = parser.parse_known_args(argv)
    if args.method not in BACKBONES[args.backbone].methods:
        parser.error(
            f"{args.backbone} has the methods {', '.join(BACKBONES[args.backbone].methods)}; name one of them"
        )
    for name in ("DATA", "HELDOUT")[: 1 + (args.method in LOOP_KIND)]:
        if not os.environ.get(name):
            parser.error(f"set {name} to a JSONL file as examples/scripts/training_data.py writes it")
    return args


def command_of(args: argparse.Namespace, backbone: Backbone, out: str) -> list[str]:
    """What is run."""
    given = os.environ
    model, data = given.get("MODEL") or backbone.model, given["DATA"]
    # Any text: the key is in the environment.
    wandb = ["--logger.wandb.key", "WANDB_API_KEY"] if given.get("WANDB_API_KEY") else []
    if args.method in LOOP_KIND:
        words = loop(backbone, args.method, model, data, given["HELDOUT"], out, wandb)
        return ["python3", "-m", "openrlhf_marge.cli.marge_dpo", *words, *args.flags]
    words = [*launch(backbone, args.method, model, data, out), *wandb, *args.flags]
    submit = ["ray", "job", "submit", "--address", given.get("RAY") or "http://127.0.0.1:8265", "--"]
    return [*submit, "python3", "-m", "openrlhf.cli.train_ppo_ray", *words]


def note(command: list[str], out: str) -> None:
    """OUT/summary.json, for the report, the figures and the model card; a loop writes its own."""
    flags = command[command.index("openrlhf.cli.train_ppo_ray") + 1 :]
    Path(out).mkdir(parents=True, exist_ok=True)
    method = flag_values(flags).get("--experience_maker", "default")
    write_json(Path(out, "summary.json"), {"method": method, "training_flags": redacted_words(flags)})


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    out = os.environ.get("OUT") or f"runs/{args.backbone}_{args.method}"
    command = command_of(args, BACKBONES[args.backbone], out)
    if os.environ.get("DRY_RUN") == "1":
        print(shlex.join(command))
        return
    if args.method in KIND:
        note(command, out)
    sys.stdout.flush()
    os.execvp(command[0], command)


if __name__ == "__main__":
    main()
