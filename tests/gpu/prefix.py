"""Common prefixes computed once, on a GPU: is it right, how fast is it, and what memory does it take?

    python tests/gpu/prefix.py [--quick | --wide] [--out FILE]

A random model of Qwen2-0.5B's shape in bfloat16 computes the log-probs of 8 completions from each of 5 and of 8 states
of one guidance (prompt 200, response 600 tokens), forward and backward, in several ways. First the attention kernel is
compared with its mask written out. Needs torch, transformers and this repository; meant to take less than 4 minutes.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parents[2]))  # where the package is

from explicit_attention import varlen_distances
from gpu_results import machine, print_assertions, row, why_skipped
from prefix_measure import Line, assertions, compare
from prefix_rows import FULL, QUICK, WIDE, Rows, Size, make_rows
from prefix_ways import Way

DEVICE = torch.device("cuda")
HEADINGS = (
    "way", "tokens", "fwd ms", "f+b ms", "fwd x", "f+b x", "peak GiB", "largest", "mean", "1-cos", "1-cos stock"
)  # fmt: skip
WIDTHS = (40, 8, 9, 9, 8, 8, 10, 10, 10, 10, 13)


def main() -> int:
    args = parse_args()
    skipped = why_skipped()
    if skipped:
        print(f"tests/gpu/prefix.py: {skipped}")
        return 0
    torch.set_float32_matmul_precision("highest")  # some images make it TF32, and float32 is what all is compared with
    started = time.perf_counter()
    size, states = (QUICK, (3,)) if args.quick else (WIDE if args.wide else FULL, (5, 8))
    results: dict[str, Any] = machine() | {"rows": args.rows, "seed": args.seed, "size": asdict(size)}
    print("\n".join(f"{name}: {value}" for name, value in results.items()), flush=True)
    failed = False
    for part, lines, held in parts(size, states, args):
        print_assertions(held)
        failed |= not all(held.values())
        results[part] = {"table": lines, "assertions": held}
        results["seconds"] = round(time.perf_counter() - started)
        if args.out:  # after each part, should a later one be stopped
            args.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    print(f"{results['seconds']} s")
    return int(failed)


def parts(
    size: Size, states: tuple[int, ...], args: argparse.Namespace
) -> Iterator[tuple[str, list[Any], dict[str, bool]]]:
    """Name, lines of the table, and what was asserted and whether it held; the kernel first, as all else needs it."""
    held = check_kernel()
    yield "kernel", [], held
    if not all(held.values()):
        return
    model = size.model(args.seed, DEVICE)
    for n_states in states:
        lines = table(model, make_rows(size, n_states, args.seed, DEVICE), args)
        ours = [line for way, line in lines if isinstance(line, Line) and not way.is_only_compared]
        measured = [asdict(line) if isinstance(line, Line) else line for _, line in lines]
        yield f"{n_states} states", measured, assertions(ours)


def check_kernel() -> dict[str, bool]:
    """The first assertion: the causal mask of fewer queries than keys is aligned at the end, forward and backward."""
    return {
        f"varlen, {found.name}: {found.to_end:.2g} from the mask that is aligned at the end (bottom right), "
        f"{found.to_start:.2g} from the one at the start": found.is_aligned_at_the_end
        for found in varlen_distances(DEVICE, torch.bfloat16)
    }


def table(model: Any, rows: Rows, args: argparse.Namespace) -> list[tuple[Way, Line | str]]:
    """Print a line for each way as soon as it is measured."""
    print(f"\n{len(rows.sequences)} rows, {int(rows.mask.sum())} tokens, {int(rows.actions.sum())} of them actions")
    print(row(HEADINGS, WIDTHS), flush=True)
    lines = []
    for way, line in compare(model, rows, args.rows, args.repeats):
        lines.append((way, line))
        print(line if isinstance(line, str) else row(asdict(line).values(), WIDTHS), flush=True)
    return lines


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tiny model and few tokens, to see that all of it runs")
    parser.add_argument("--wide", action="store_true", help="6 layers of Qwen2.5-7B's width; take --rows 8 for 80 GB")
    parser.add_argument("--rows", type=int, default=12, help="rows of a stock micro-batch; 12 for 80 GB [12]")
    parser.add_argument("--repeats", type=int, default=3, help="measured passes, after one to warm up [3]")
    parser.add_argument("--seed", type=int, default=0, help="of weights and tokens [0]")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the results to FILE, as JSON")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
