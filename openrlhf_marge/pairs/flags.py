"""The flags of ``build_pairs``."""

from __future__ import annotations

import argparse
import re
from dataclasses import MISSING, fields
from pathlib import Path

from openrlhf_marge.pairs.base import Builder, Settings
from openrlhf_marge.pairs.registry import BUILDERS

ENDINGS = (".jsonl", ".parquet")
DEFAULTS = {f.name: f.default for f in fields(Settings) if f.default is not MISSING}
HELP = {
    "min_value": "marge: lowest share of correct completions of a state [%(default)s]",
    "max_value": "marge: highest share of correct completions of a state [%(default)s]",
    "pairs_per_state": "marge, outcome: most pairs of a state [%(default)s]",
    "closest_only": "marge: of every visit of a problem only the state with the value closest to 0.5",
    "longest_common": "marge, outcome: prefer pairs that share the most tokens at their start",
    "from_all_states": "sft: also the correct completions of later states, their guidance prefix included",
    "responses_per_state": "sft: most responses of a state, chosen at random; 0 for all [%(default)s]",
    "hard_labels": "prm: labels are true for a value above 0, not the values",
    "step_label": "step_dpo: regular expression of a step label, as --marge.step_label [%(default)r]",
    "dataset": "step_dpo: text of the column dataset [%(default)r]",
    "max_len": "most tokens of prompt and response, 0 for no limit; as --data.max_len later [%(default)s]",
    "seed": "seed of every choice [%(default)s]",
}


def parse_args(argv: list[str] | None, description: str = "") -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dumps", nargs="+", type=Path, metavar="DUMP", help="folder of rollout-*.parquet files")
    parser.add_argument("--kind", required=True, help=f"{', '.join(BUILDERS.own)}, or an installed builder's name")
    parser.add_argument("--model", required=True, help="model of the run, for its tokenizer")
    parser.add_argument("--out", type=Path, required=True, help=".jsonl or .parquet file, or folder, to write")
    parser.add_argument("--format", choices=("jsonl", "parquet"), default="jsonl", help="of a folder [%(default)s]")
    for name, help in HELP.items():
        default = DEFAULTS[name]
        how = dict(action="store_true") if default is False else dict(type=type(default), default=default)
        parser.add_argument(f"--{name}", help=help, **how)
    return parser.parse_args(argv)


def check_args(args: argparse.Namespace, builder: Builder) -> None:
    """ValueError naming the first flag that cannot be what is meant."""
    if args.min_value > args.max_value:
        raise ValueError(f"--min_value {args.min_value} is above --max_value {args.max_value}; swap them")
    for name, lowest in (("pairs_per_state", 1), ("responses_per_state", 0), ("max_len", 0)):
        if (value := getattr(args, name)) < lowest:
            raise ValueError(f"--{name} is {value}; it must be at least {lowest}")
    for name in sorted(set(HELP) - {"max_len", "seed"} - set(builder.options)):
        if getattr(args, name) != DEFAULTS[name]:
            raise ValueError(f"--{name} changes nothing with --kind {args.kind}; leave it out")
    try:
        re.compile(args.step_label)
    except re.error as e:
        raise ValueError(f"--step_label {args.step_label!r} is no regular expression: {e}") from e
    is_file = args.out.suffix in ENDINGS
    if args.out.exists() and args.out.is_dir() == is_file:
        raise ValueError(f"--out {args.out} is a {'folder' if is_file else 'file'} already; choose another name")
