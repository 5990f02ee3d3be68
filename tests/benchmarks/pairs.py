"""Seconds, CPU seconds (imports included) and memory of build_pairs for a million short completions; prints figures.

    python tests/benchmarks/pairs.py [--completions 1000000] [--kind marge] [--response_tokens 12] [--keep FOLDER]

5 states of 8 completions a problem, 50,000 completions a file, half of them correct. The builder runs in a process of
its own, so that its peak memory is its own.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))  # helpers of the tests

from large_dump import write_dump

RUN = """
import resource, sys
from openrlhf_marge.cli.build_pairs import main
status = main(sys.argv[1:])
used = resource.getrusage(resource.RUSAGE_SELF)
print(f"{used.ru_utime + used.ru_stime:.1f} s of CPU time, peak memory {used.ru_maxrss / 2**20:.2f} GiB")
sys.exit(status)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--completions", type=int, default=1_000_000)
    parser.add_argument("--response_tokens", type=int, default=12)
    parser.add_argument("--kind", default="marge")
    parser.add_argument("--keep", type=Path, help="folder for the dump, which is used again when it is there")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = args.keep or Path(name)
        if not (folder / "dump").exists():
            write_dump(folder, args.completions, args.response_tokens)
        flags = ["--kind", args.kind, "--model", folder / "model", "--out", folder / "pairs"]
        start = time.monotonic()
        subprocess.run([sys.executable, "-c", RUN, folder / "dump", *flags], check=True)
        print(f"{args.completions} completions, kind {args.kind}: {time.monotonic() - start:.1f} s")


if __name__ == "__main__":
    main()
