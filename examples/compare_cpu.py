"""Base model and data of every seed -> python -m openrlhf_marge.cli.compare examples/compare/cpu.toml.

Started by compare_cpu.sh. All methods of a seed begin with the same model, DIR/base/seed_N.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from embedded_task import make_base_model

from openrlhf_marge.arithmetic import pretrain


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/compare"), help="folder to write [%(default)s]")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="[0 1 2]")
    parser.add_argument("--file", type=Path, default=Path(__file__).parent / "compare" / "cpu.toml", help="[cpu.toml]")
    args = parser.parse_args()
    for seed in args.seeds:
        print(f"== base model and data, seed {seed}", flush=True)
        folder = args.out / "base" / f"seed_{seed}"
        pretrain.write_problems(folder, seed)
        make_base_model(folder, seed)
    command = [sys.executable, "-m", "openrlhf_marge.cli.compare", str(args.file), "--out", str(args.out), "--seeds"]
    os.execv(sys.executable, [*command, *map(str, args.seeds)])


if __name__ == "__main__":
    main()
