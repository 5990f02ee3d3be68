"""The flags of ``marge_dpo``, and the loop that they ask for."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path

from openrlhf_marge.exploration.flags import parse_args as parse_explore_args
from openrlhf_marge.loop.checks import (
    check_explore,
    check_heldout,
    check_pairs,
    check_patched,
    check_train_flags,
    checked,
    words_of,
)
from openrlhf_marge.loop.commands import Flags
from openrlhf_marge.loop.iterations import Loop
from openrlhf_marge.loop.kinds import KINDS
from openrlhf_marge.pairs.flags import parse_args as parse_pairs_args
from openrlhf_marge.runs.folder import flag_values

LAUNCHER = "{python} -m torch.distributed.run --standalone --nproc_per_node {gpus}"
COMMANDS = {
    "explore": "of openrlhf_marge.cli.explore, at least the data",
    "pairs": "of openrlhf_marge.cli.build_pairs",
    "train": "of openrlhf.cli.train_dpo, or train_sft with --kind sft",
    "evaluate": "of openrlhf_marge.cli.evaluate",
}


def parse_args(argv: list[str] | None, description: str = "") -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kind", choices=tuple(KINDS), default="marge", help="the method [%(default)s]")
    parser.add_argument("--model", required=True, help="the model to begin with")
    parser.add_argument("--heldout", required=True, help="held-out problems, as --data of cli.evaluate")
    parser.add_argument("--out", type=Path, required=True, help="folder to write; one that was begun goes on")
    parser.add_argument("--iterations", type=int, default=3, help="at least 1 [%(default)s]")
    parser.add_argument(
        "--patience", type=int, default=1,
        help="stop after so many iterations without a better held-out pass@1; 0 for never [%(default)s]",
    )  # fmt: skip
    for stage, text in COMMANDS.items():
        parser.add_argument(f"--{stage}", default="", metavar="FLAGS", help=f"flags {text}")
    parser.add_argument("--launcher", default=LAUNCHER, help="what starts the training, before '-m' [%(default)s]")
    args = parser.parse_args(joined(sys.argv[1:] if argv is None else argv))
    for name, lowest in (("iterations", 1), ("patience", 0)):
        if getattr(args, name) < lowest:
            parser.error(f"--{name} is {getattr(args, name)}; it must be at least {lowest}")
    return args


def joined(words: list[str]) -> list[str]:
    """A stage and its flags as one word: argparse takes a single flag in quotes for one of this command."""
    stages = {f"--{stage}" for stage in COMMANDS}
    found: list[str] = []
    for word in words:
        if found and found[-1] in stages:
            found[-1] += f"={word}"
        else:
            found.append(word)
    return found


def make_loop(args: argparse.Namespace) -> Loop:
    """The loop of the flags, every stage's flags checked; ValueError for what cannot work."""
    kind, flags = KINDS[args.kind], Flags(**{stage: words_of(stage, getattr(args, stage)) for stage in COMMANDS})
    check_patched(kind)
    model = ["--actor.model_name_or_path", args.model]
    explored = checked("--explore", parse_explore_args, ["--out", "x", *model, *kind.explore_flags, *flags.explore])
    check_explore(explored)
    pairs = ["x", "--kind", kind.pairs, "--model", args.model, "--out", "x", *kind.pairs_flags, *flags.pairs]
    check_pairs(checked("--pairs", parse_pairs_args, pairs))
    check_heldout(args.heldout, flags.evaluate)
    train = [*kind.train_flags, *flags.train]
    check_train_flags(kind, train)
    try:
        launcher = shlex.split(args.launcher.format(python=sys.executable, gpus=count_gpus()))
    except (KeyError, IndexError, ValueError) as e:
        raise ValueError(f"--launcher {args.launcher!r} cannot be filled with {{python}} and {{gpus}}: {e!r}") from e
    return Loop(
        kind=kind, out=args.out, model=args.model, heldout=args.heldout, flags=flags, iterations=args.iterations,
        patience=args.patience, max_len=getattr(explored, "data.max_len"), launcher=tuple(launcher),
        batch_size=int(flag_values(train)["--train.batch_size"]),
    )  # fmt: skip


def count_gpus() -> int:
    """Training processes; one where there is no GPU."""
    import torch

    return max(1, torch.cuda.device_count())
