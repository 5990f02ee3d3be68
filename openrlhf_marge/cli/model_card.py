"""A trained model's card: README.md in its folder, with data, settings, and results before and after.

    python -m openrlhf_marge.cli.model_card RUN [--model MODEL_DIR] [--force]

RUN is the folder of a quickstart, of examples/scripts, of a comparison (cli/compare.py) or of a DPO loop
(cli/marge_dpo.py): with summary.json, and the results of cli/evaluate.py in after.json and, if there, before.json, or
of the loop's iterations. For a run of a script of your own, write summary.json yourself:
{"method": "marge", "training_flags": ["--actor.model_name_or_path", "MODEL", ...]}.
Exit status: 0, or 2 for bad input.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from openrlhf_marge.cli.exits import exit_status
from openrlhf_marge.data.files import writing
from openrlhf_marge.model_card import MARKER, model_card, read_trained


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of a run")
    parser.add_argument("--model", type=Path, help="folder of the model [the run's; of a DPO loop the best one's]")
    parser.add_argument("--force", action="store_true", help="replace a README.md that is no card of this command")
    return parser.parse_args(argv)


def write_card(args: argparse.Namespace) -> Path:
    """The file that was written; ValueError or OSError, and nothing is written, for bad input."""
    trained = read_trained(args.run, args.model)
    if not trained.folder.is_dir():
        raise ValueError(f"{trained.folder} is no folder; name the model's folder with --model")
    path = trained.folder / "README.md"
    if path.exists() and not args.force and MARKER not in path.read_text(encoding="utf-8", errors="replace"):
        raise ValueError(f"{path} was not written by this command; move it away, or replace it with --force")
    card = model_card(trained)
    with writing(path) as file:
        file.write(card)
    return path


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    return exit_status("model_card", lambda: str(write_card(args)))


if __name__ == "__main__":
    sys.exit(main())
