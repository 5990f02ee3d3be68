"""The paper's figures from the data of finished runs: PNG files, and the numbers behind each as CSV.

    python -m openrlhf_marge.cli.figures RUN... --out DIR         # RUN: a folder, or NAME=FOLDER

RUN is the folder of a run of train_ppo_ray with its TensorBoard log (quickstart, compare, examples/scripts, your own),
that of a DPO loop, or a dump (--marge.dump_dir, cli/explore.py).

fig1   accuracy at which runs converge, and their trends; the first RUN is the star
fig3   value by state index for correct and incorrect guidance
fig4   pass@1 and pass@k before and after training
fig5a  diversity of the outcomes, and with a dump share of valid pairs, against generated completion tokens
fig5b  values of the states in the first and in the last fifth of the steps or iterations
fig6   accuracy against responses trained on with the fit y = c1 + c2 ln x; table7.csv has its coefficients

A figure that a run has no data for is left out, and what it needs is said. Exit status: 0, or 2 for bad input and
when no figure is left.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from openrlhf_marge.cli.exits import exit_status
from openrlhf_marge.data.files import check_out_folder, write_csv
from openrlhf_marge.figures import RunData, build_figures, count_completions, find_policies, read_run, save


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", metavar="RUN", help="folder of a run, or NAME=FOLDER [its own name]")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    return parser.parse_args(argv)


def named_folders(words: Sequence[str]) -> dict[str, Path]:
    """Name -> folder of every RUN; ValueError for a name given twice and for what is no folder."""
    folders: dict[str, Path] = {}
    for word in words:
        name, named, folder = ("", "", word) if Path(word).is_dir() else word.rpartition("=")
        path = Path(folder)
        if not path.is_dir():
            raise ValueError(f"RUN {word}: {folder} is no folder; give the folder of a run, or NAME=FOLDER")
        name = name if named else path.resolve().name
        if name in folders:
            raise ValueError(f"two RUNs are named {name}; give them names as NAME=FOLDER")
        folders[name] = path
    return folders


def read_runs(folders: dict[str, Path]) -> list[RunData]:
    """All runs, with a bar of the completions read; ValueError or OSError naming what cannot be read."""
    policies = {name: find_policies(folder) for name, folder in folders.items()}
    total = sum(map(count_completions, policies.values()))
    with tqdm(total=total, desc="Read", unit="completion", disable=not total) as progress:
        return [read_run(name, folder, policies[name], progress.update) for name, folder in folders.items()]


def draw(args: argparse.Namespace) -> list[str]:
    """Write all figures; returns the names of the files without ending. ValueError when there is none."""
    check_out_folder(args.out)
    figures = build_figures(read_runs(named_folders(args.runs)))
    for sentence in figures.missing:
        print(sentence, file=sys.stderr)
    if not figures.plots:
        raise ValueError("no figure can be drawn of these RUNs; what each needs is said above")
    args.out.mkdir(parents=True, exist_ok=True)
    for name, plot in figures.plots.items():
        save(plot, args.out / f"{name}.png")
    for name, table in ({name: plot.table for name, plot in figures.plots.items()} | figures.tables).items():
        write_csv(args.out / f"{name}.csv", table.header, table.rows)
    return [*figures.plots, *figures.tables]


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    return exit_status("figures", lambda: f"{args.out}: {', '.join(draw(args))}")


if __name__ == "__main__":
    sys.exit(main())
