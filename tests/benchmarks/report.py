"""Seconds to write the report of a large run, size of the page, time until Chromium has it ready; prints figures.

    python tests/benchmarks/report.py [--completions 100000] [--response_tokens 250] [--max_completions 20000]

The dump is that of benchmark_pairs.py: 5 states of 8 completions a problem.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from large_dump import write_dump

sys.path.append(str(Path(__file__).parents[1]))  # helpers of the tests

from browser import open_browser, open_page

N_OPENINGS = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--completions", type=int, default=100_000)
    parser.add_argument("--response_tokens", type=int, default=250)
    parser.add_argument("--max_completions", type=int, default=20_000)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_dump(folder, args.completions, args.response_tokens)
        flags = ["--model", folder / "model", "--max_completions", str(args.max_completions)]
        start = time.monotonic()
        subprocess.run([sys.executable, "-m", "openrlhf_marge.cli.report", folder, *flags], check=True)
        seconds, page = time.monotonic() - start, folder / "report.html"
        size = page.stat().st_size / 2**20
        with open_browser(folder / "browser") as driver:
            ready = [open_page(driver, page) for _ in range(N_OPENINGS)]
    print(f"{args.completions} completions, {args.response_tokens} tokens each: {seconds:.1f} s, {size:.1f} MiB")
    print(f"ready after {statistics.median(ready)} ms, at most {max(ready)} ms, of {N_OPENINGS} openings")


if __name__ == "__main__":
    main()
