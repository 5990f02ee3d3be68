"""Writes the training problems of a backbone (Sec. 4.1 of the paper) from the Hugging Face hub, or from a local copy.

    python examples/scripts/training_data.py --data step_dpo --out data/step_dpo
    python examples/scripts/training_data.py --data gsm8k=FOLDER --out data/gsm8k --heldout 200

DIR/train.jsonl and DIR/heldout.jsonl have the columns "problem", "input" (the problem with the sentence of App. E that
asks for the answer in a box) and "label". A problem that comes twice, or that has no answer, is left out and counted.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

from openrlhf_marge.cli.exits import exit_status
from openrlhf_marge.data.files import check_out_folder, writing
from openrlhf_marge.data.rows import Row
from openrlhf_marge.evaluation.data_sets import DataSet
from openrlhf_marge.evaluation.problems import published_rows
from openrlhf_marge.evaluation.prompts import SENTENCE

SOURCES: Mapping[str, DataSet] = {
    # 10,795 rows; the subsets of MetaMathQA and AQuA that Step-DPO and the paper use.
    "step_dpo": DataSet("xinlai/Math-Step-DPO-10K", "prompt", "answer", split="train"),
    # 4,428 problems, whose only split is called test; of the paper's "training set" nothing more is known.
    "omni_math": DataSet("KbsdJames/Omni-MATH", "problem", "answer"),
    # 251,122 problems, after the owners' terms are accepted.
    "big_math": DataSet("SynthLabsAI/Big-Math-RL-Verified", "problem", "answer", split="train"),
    # 7,473 problems; a solution ends in "#### 18".
    "gsm8k": DataSet("openai/gsm8k", "question", "answer", split="train", configs=("main",)),
}
MOST = 10_000  # problems; the paper samples its subsets and says no number, but that about 8,500 had guidance


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--data", required=True, help=f"{', '.join(SOURCES)}, or NAME=FOLDER, a local copy")
    add("--out", type=Path, required=True, metavar="DIR", help="folder to write")
    add("--problems", type=int, default=MOST, help="most training problems, drawn at random [%(default)s]")
    add("--heldout", type=int, default=500, help="problems that are held out, drawn at random [%(default)s]")
    add("--seed", type=int, default=0, help="of both draws [%(default)s]")
    args = parser.parse_args(argv)
    if args.data.partition("=")[0] not in SOURCES:
        parser.error(f"--data {args.data} is not known; known are {', '.join(SOURCES)}")
    if args.problems < 1 or args.heldout < 1:
        parser.error("--problems and --heldout must be at least 1")
    return args


def distinct(rows: Iterable[Row], source: DataSet, left_out: Counter[str]) -> list[dict[str, str]]:
    """Rows with a problem and an answer, the first one of each problem; what is left out is counted."""
    kept: dict[str, dict[str, str]] = {}
    for row in rows:
        problem, label = (str(row.values.get(key) or "").strip() for key in (source.input_key, source.label_key))
        if not problem or not label:
            left_out["without a problem or an answer"] += 1
        elif problem in kept:
            left_out["that came before"] += 1
        else:
            kept[problem] = {"problem": problem, "input": f"{problem} {SENTENCE}", "label": label}
    return list(kept.values())


def write(args: argparse.Namespace) -> str:
    """Both files; returns what was written."""
    name, _, folder = args.data.partition("=")
    check_out_folder(args.out)
    left_out: Counter[str] = Counter()
    rows = distinct(published_rows(name, SOURCES[name], folder), SOURCES[name], left_out)
    if len(rows) <= args.heldout:
        raise ValueError(f"--data {args.data} has {len(rows)} problems; --heldout {args.heldout} leaves none")
    random.Random(args.seed).shuffle(rows)
    files = {"heldout": rows[: args.heldout], "train": rows[args.heldout :][: args.problems]}
    args.out.mkdir(parents=True, exist_ok=True)
    for file_name, of_file in files.items():
        with writing(args.out / f"{file_name}.jsonl") as file:
            file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in of_file)
    said = "".join(f"; {count} {why} were left out" for why, count in left_out.items())
    return f"{args.out}: {len(files['train'])} training problems, {args.heldout} held out{said}"


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    return exit_status("training_data", lambda: write(args))


if __name__ == "__main__":
    sys.exit(main())
