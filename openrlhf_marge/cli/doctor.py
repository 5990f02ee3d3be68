"""Look at this machine, and at a launch, before a run: one line for each thing, with the mend where one is needed.

    python -m openrlhf_marge.cli.doctor
    python -m openrlhf_marge.cli.doctor -- --experience_maker marge --actor.model_name_or_path ...

What follows the two dashes are the flags of a launch of train_ppo_ray, as in your script; with them the tokenizer, the
first prompt and the first 1,000 gold answers are looked at, too. Nothing is changed.

Exit status: 0, or 1 where a run cannot work, 2 for bad input.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from openrlhf_marge.data.redaction import redacted
from openrlhf_marge.host.doctor.findings import Finding, Level


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path(), help="where the run would write [this folder]")
    parser.add_argument("flags", nargs="*", metavar="FLAG", help="of the launch, after --")
    return parser.parse_args(argv)


def examine(args: argparse.Namespace) -> Iterator[Finding]:
    """Machine, GPUs, launch; what a part needs is loaded when its turn comes, so that a broken one hides no other."""
    from openrlhf_marge.host.doctor.machine import machine

    yield from machine(args.folder)
    from openrlhf_marge.host.doctor.devices import devices

    yield from devices()
    if args.flags:
        from openrlhf_marge.host.doctor.launch import launch

        yield from launch(args.flags)


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    levels = []
    try:
        for finding in examine(args):
            print(redacted(str(finding)), flush=True)
            levels.append(finding.level)
    except ImportError as e:  # of the host, which is named above
        print(f"doctor: error: {e}; mend what is named above first", file=sys.stderr)
        return 1
    return int(Level.FAULT in levels)


if __name__ == "__main__":
    sys.exit(main())
