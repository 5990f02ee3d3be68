"""The guidance of a run's last checkpoint as rows of data: {"query", "guidance hit", "gt"}, the authors' format.

    python -m openrlhf_marge.cli.export_guidance --ckpt_path RUN/checkpoints --model MODEL --data DATA --out FILE

Such a file is what `--data.input_key query --data.label_key gt --marge.guidance_key "guidance hit"` reads.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from openrlhf_marge.cli.exits import exit_status
from openrlhf_marge.data.files import check_out, writing
from openrlhf_marge.data.plurals import counted


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ckpt_path", type=Path, required=True, help="the run's --ckpt.path")
    parser.add_argument("--model", required=True, help="model of the run, for its tokenizer")
    parser.add_argument("--data", type=Path, required=True, help="JSONL file that the run trained on")
    parser.add_argument("--input_key", default="input", help="the run's --data.input_key [default 'input']")
    parser.add_argument("--label_key", default="label", help="the run's --data.label_key [default 'label']")
    parser.add_argument("--no_chat_template", action="store_true", help="the run had no --data.apply_chat_template")
    parser.add_argument("--input_template", help="the run's --data.input_template [none]")
    parser.add_argument("--out", type=Path, required=True, help="JSONL file to write")
    return parser.parse_args(argv)


def write(args: argparse.Namespace) -> str:
    """What was written; ValueError or OSError for bad input, and nothing is written then."""
    from openrlhf_marge.host.standalone.export_guidance import guidance_rows

    check_out(args.out, [args.data])
    rows = list(guidance_rows(args))
    if not rows:
        raise ValueError(
            f"no guidance is of a problem in {args.data}; give --input_key, --label_key, --input_template and "
            "--no_chat_template as the run had them"
        )
    with writing(args.out) as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    return f"{args.out}: {counted(len(rows), 'guidance')}"


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    return exit_status("export_guidance", lambda: write(args))


if __name__ == "__main__":
    sys.exit(main())
