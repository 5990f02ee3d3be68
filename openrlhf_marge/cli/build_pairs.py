"""Training data from the dumps of a run (--marge.dump_dir): preference pairs, SFT and process-reward rows.

    python -m openrlhf_marge.cli.build_pairs DUMP... --kind marge --model MODEL --out PAIRS

Kinds: marge (pairs of states neither too easy nor too hard), outcome (pairs of whole responses), sft (correct
responses), prm (steps with values), self_explore and step_dpo (pairs at the first wrong step of a response), mcts
and mcts_steps (better and worse steps of a tree search, each with its best way on, or alone), or an installed one.
--out ending in .jsonl or .parquet is a file, anything else a folder with a data card, which datasets.load_dataset
reads. Every row is encoded as OpenRLHF's data sets do; what does not give the sampled token ids again is left out.
Exit status: 0, or 2 for bad input.
"""

from __future__ import annotations

import argparse
import functools
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from tqdm import tqdm

from openrlhf_marge.cli.exits import exit_status
from openrlhf_marge.data.columns import find_files
from openrlhf_marge.data.dump_reading import stop_texts
from openrlhf_marge.data.files import writing
from openrlhf_marge.data.parquet import check_file, open_file
from openrlhf_marge.data.plurals import counted
from openrlhf_marge.data.row_writers import row_writer
from openrlhf_marge.decoding import decode_pieces
from openrlhf_marge.models import TokenizerCodec
from openrlhf_marge.pairs import BUILDERS, PairSettings, VisitGroups, build_rows, read_visits
from openrlhf_marge.pairs.base import Builder
from openrlhf_marge.pairs.card import CARD, NEEDS_PATCHES, Summary, data_card
from openrlhf_marge.pairs.flags import DEFAULTS, ENDINGS, check_args, parse_args
from openrlhf_marge.pairs.reading import columns_of
from openrlhf_marge.pairs.stops import with_eos


def build(args: argparse.Namespace) -> Summary:
    """Write what the flags ask for; ValueError when that would be no row, and then nothing is written."""
    builder = BUILDERS.load(args.kind)
    check_args(args, builder)
    files, columns = find_files(args.dumps), columns_of(builder)
    summary = Summary(completions=sum(check_file(path, columns) for path in files))
    codec = TokenizerCodec(args.model)
    flags = {name: getattr(args, name) for name in DEFAULTS} | {"max_len": args.max_len or None}
    settings = PairSettings(eos_id=codec.eos_id, other_eos=codec.other_eos, **flags)
    path = args.out if args.out.suffix in ENDINGS else args.out / f"train.{args.format or 'jsonl'}"
    with row_writer(path, builder.schema(settings)) as write:
        for row in build_rows(visits(files, summary, codec, columns), builder, settings, codec, summary.left_out):
            write(row)
            summary.add(row)
        if not summary.rows:
            raise ValueError(nothing_left(args, summary))
        if path != args.out:  # the card comes first, so that a folder with rows is known as ours
            write_card(args, builder, settings, summary)
    if path != args.out:
        for other in {args.out / f"train{ending}" for ending in ENDINGS} - {path}:
            other.unlink(missing_ok=True)  # of an earlier build in another format; a data set would hold both
    return summary


def write_card(args: argparse.Namespace, builder: Builder, settings: PairSettings, summary: Summary) -> None:
    """The README.md of a folder."""
    used = {*builder.options, "max_len", "seed"}
    shown = {name: value for name, value in asdict(settings).items() if name in used}
    trainer = getattr(builder, "trainer", None)  # an installed builder may have none
    with writing(args.out / CARD) as file:
        file.write(data_card(summary, args.kind, trainer, args.model, shown))


def visits(
    files: list[Path], summary: Summary, codec: TokenizerCodec, columns: Sequence[str]
) -> Iterator[VisitGroups]:
    """All visits of all files, with a bar of the completions read; what a stop text ended ends with EOS instead."""
    pieces = functools.partial(decode_pieces, codec.tokenizer)
    with tqdm(total=summary.completions, desc="Build pairs", unit="completion") as progress:
        for path in files:
            stop = stop_texts(open_file(path).schema_arrow)
            for visit in read_visits(path, progress.update, columns):
                groups, changed = with_eos(visit, stop, codec.eos_id, pieces) if stop else (visit, 0)
                summary.stopped += changed
                yield groups


def nothing_left(args: argparse.Namespace, summary: Summary) -> str:
    """The error for an empty result."""
    reasons = "; ".join(summary.left_out_lines()) or "nothing that could be a row"
    of = counted(summary.completions, "completion")
    return f"no row of --kind {args.kind} is left of {of}; left out were: {reasons}"


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv, __doc__)
    return exit_status("build_pairs", lambda: described(args, build(args)))


def described(args: argparse.Namespace, summary: Summary) -> str:
    """What was written, and what was left out."""
    lines = [f"{args.out}: {summary.rows_line()}"]
    if summary.stopped:
        lines.append(summary.stopped_line())
    trainer = getattr(BUILDERS.load(args.kind), "trainer", None)  # an installed builder may have none
    if trainer and trainer.needs_patches:
        lines.append(NEEDS_PATCHES)
    if summary.left_out:
        lines += ["left out:", *(f"  {line}" for line in summary.left_out_lines())]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
