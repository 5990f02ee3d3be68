"""Training data from the dumps of a run (--marge.dump_dir): preference pairs, SFT and process-reward rows.

    python -m openrlhf_marge.cli.build_pairs DUMP... --kind marge --model MODEL --out PAIRS

Kinds: marge (pairs of states neither too easy nor too hard), outcome (pairs of whole responses), sft (correct
responses), prm (steps with values), self_explore and step_dpo (pairs at the first wrong step of a response), or an
installed one. --out ending in .jsonl or .parquet is a file, anything else a folder with a data card, which
datasets.load_dataset reads. Every row is encoded as OpenRLHF's data sets do; what does not give the sampled token ids
again is left out. Exit status: 0, or 2 for bad input.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator
from dataclasses import MISSING, asdict, fields
from pathlib import Path

from tqdm import tqdm

from openrlhf_marge.cli.exits import exit_status
from openrlhf_marge.data.columns import check_file, find_files
from openrlhf_marge.data.files import writing
from openrlhf_marge.data.row_writers import row_writer
from openrlhf_marge.models import TokenizerCodec
from openrlhf_marge.pairs import BUILDERS, Builder, Settings, Visit, build_rows, load_builder, read_visits
from openrlhf_marge.pairs.card import Summary, data_card
from openrlhf_marge.pairs.reading import COLUMNS

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


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dumps", nargs="+", type=Path, metavar="DUMP", help="folder of rollout-*.parquet files")
    parser.add_argument("--kind", required=True, help=f"{', '.join(BUILDERS)}, or an installed builder's name")
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


def build(args: argparse.Namespace) -> Summary:
    """Write what the flags ask for; ValueError when that would be no row, and then nothing is written."""
    builder = load_builder(args.kind)
    check_args(args, builder)
    files = find_files(args.dumps)
    summary = Summary(completions=sum(check_file(path, COLUMNS) for path in files))
    codec = TokenizerCodec(args.model)
    flags = {name: getattr(args, name) for name in HELP} | {"max_len": args.max_len or None}
    settings = Settings(eos_id=codec.eos_id, other_eos=codec.other_eos, **flags)
    path = args.out if args.out.suffix in ENDINGS else args.out / f"train.{args.format}"
    with row_writer(path, builder.schema(settings)) as write:
        for row in build_rows(visits(files, summary.completions), builder, settings, codec, summary.left_out):
            write(row)
            summary.add(row)
        if not summary.rows:
            raise ValueError(nothing_left(args, summary))
    if path != args.out:
        used = {*builder.options, "max_len", "seed"}
        shown = {name: value for name, value in asdict(settings).items() if name in used}
        with writing(args.out / "README.md") as file:
            file.write(data_card(summary, args.kind, args.model, shown))
        for other in {args.out / f"train{ending}" for ending in ENDINGS} - {path}:
            other.unlink(missing_ok=True)  # of an earlier build in another format; a data set would hold both
    return summary


def visits(files: list[Path], completions: int) -> Iterator[Visit]:
    """All visits of all files, with a bar of the completions read."""
    with tqdm(total=completions, desc="Build pairs", unit="completion") as progress:
        for path in files:
            yield from read_visits(path, progress.update)


def nothing_left(args: argparse.Namespace, summary: Summary) -> str:
    """The error for an empty result."""
    reasons = "; ".join(summary.left_out_lines()) or "nothing that could be a row"
    return f"no row of --kind {args.kind} is left of {summary.completions} completions; left out were: {reasons}"


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    return exit_status("build_pairs", lambda: described(args, build(args)))


def described(args: argparse.Namespace, summary: Summary) -> str:
    """What was written, and what was left out."""
    lines = [f"{args.out}: {summary.rows} rows from {summary.completions} completions"]
    if summary.left_out:
        lines += ["left out:", *(f"  {line}" for line in summary.left_out_lines())]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
