"""The flags of ``build_pairs``."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from openrlhf_marge.method.flags import add_flags, check_values, options_of
from openrlhf_marge.pairs.base import Builder
from openrlhf_marge.pairs.card import CARD, MARKER
from openrlhf_marge.pairs.registry import BUILDERS
from openrlhf_marge.pairs.settings import PairSettings

ENDINGS = (".jsonl", ".parquet")
DEFAULTS = {f.name: f.default for f in options_of(PairSettings)}


def parse_args(argv: list[str] | None, description: str = "") -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dumps", nargs="+", type=Path, metavar="DUMP", help="folder of rollout-*.parquet files")
    parser.add_argument("--kind", required=True, help=f"{', '.join(BUILDERS.own)}, or an installed builder's name")
    parser.add_argument("--model", required=True, help="model of the run, for its tokenizer")
    parser.add_argument("--out", type=Path, required=True, help=".jsonl or .parquet file, or folder, to write")
    parser.add_argument("--format", choices=("jsonl", "parquet"), help="of a folder [jsonl]")
    add_flags(parser, PairSettings, with_range=False)
    return parser.parse_args(argv)


def check_args(args: argparse.Namespace, builder: Builder) -> None:
    """ValueError naming the first flag that cannot be what is meant."""
    check_values(args, PairSettings)
    if args.min_value > args.max_value:
        raise ValueError(f"--min_value {args.min_value} is above --max_value {args.max_value}; swap them")
    for name in sorted(set(DEFAULTS) - {"max_len", "seed"} - set(builder.options)):
        if getattr(args, name) != DEFAULTS[name]:
            raise ValueError(f"--{name} changes nothing with --kind {args.kind}; leave it out")
    try:
        re.compile(args.step_label)
    except re.error as e:
        raise ValueError(f"--step_label {args.step_label!r} is no regular expression: {e}") from e
    is_file = args.out.suffix in ENDINGS
    if args.out.exists() and args.out.is_dir() == is_file:
        raise ValueError(f"--out {args.out} is a {'folder' if is_file else 'file'} already; choose another name")
    if is_file and args.format is not None:
        raise ValueError(f"--format is of a folder, and --out {args.out} is a file; leave it out")
    if not is_file:
        _check_folder(args.out)


def _check_folder(out: Path) -> None:
    """ValueError where a file of another origin would be replaced, as a training set of the same name would be."""
    card, rows = out / CARD, [out / f"train{ending}" for ending in ENDINGS]
    is_ours = card.is_file() and MARKER in card.read_text(encoding="utf-8", errors="replace")
    for path in (card, *rows):
        if path.exists() and not is_ours:
            raise ValueError(f"{path} was not written by build_pairs; name another folder with --out")
