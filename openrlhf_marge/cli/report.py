"""A run's dump (--marge.dump_dir) as one HTML page: guidance, states with their values, completions, curves.

    python -m openrlhf_marge.cli.report RUN [--dump DIR...] [--model MODEL] [--out FILE.html]

RUN is a run folder, or the --out of cli.explore. Its summary.json, when there, tells flags and results; its
TensorBoard log gives the curves. The page needs no network. Exit status: 0, or 2 for bad input.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from tqdm import tqdm

from openrlhf_marge.cli.exits import exit_status
from openrlhf_marge.data.columns import find_files
from openrlhf_marge.data.dump import candidates_path
from openrlhf_marge.data.files import writing
from openrlhf_marge.models import TokenizerCodec
from openrlhf_marge.report.building import build_problems
from openrlhf_marge.report.model import FAILURES, ProblemData
from openrlhf_marge.report.page import render
from openrlhf_marge.report.reading import VisitRows, find_visits
from openrlhf_marge.report.run import CurveData, facts, headline, read_curves
from openrlhf_marge.report.sampling import Count, sample_visits, sampling_sentence
from openrlhf_marge.runs.folder import explored_with, find_dumps, foreign_sentence, place_of
from openrlhf_marge.runs.summary import RunSummary, find_summary


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of a run")
    parser.add_argument(
        "--dump", nargs="+", type=Path, metavar="DIR", help="folders of rollout-*.parquet files [the run's]"
    )
    parser.add_argument("--model", help="model of the run, for its tokenizer [the run's]")
    parser.add_argument("--out", type=Path, help="HTML file to write [RUN/report.html]")
    parser.add_argument(
        "--max_completions", type=int, default=20_000, help="most completions; of more a sample is shown [%(default)s]"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of that sample [%(default)s]")
    return parser.parse_args(argv)


def dumps_of(args: argparse.Namespace, flags: Mapping[str, str]) -> list[Path]:
    """--dump, or where the run wrote; ValueError when there is no such folder."""
    if found := args.dump or find_dumps(args.run, flags):
        return found
    raise ValueError(
        f"{args.run} has no dump: neither the --marge.dump_dir of its summary.json nor {args.run / 'dump'} is there, "
        "nor is it a dump itself; name the folder with --dump, or train with --marge.dump_dir"
    )


def model_of(args: argparse.Namespace, summary: RunSummary, flags: Mapping[str, str]) -> str:
    """--model, or the trained model, or the one it began with; ValueError when none is known."""
    trained = flags.get("--ckpt.output_dir") or summary.best_model
    trained = str(place_of(args.run, trained)) if trained else ""
    model = args.model or (trained if os.path.isdir(trained) else flags.get("--actor.model_name_or_path"))
    if not model:
        raise ValueError(f"--model is missing, and no {args.run / 'summary.json'} names one; give the run's model")
    return model


def check_args(args: argparse.Namespace, out: Path) -> None:
    """ValueError naming the first argument that cannot be what is meant."""
    if not args.run.is_dir():
        raise ValueError(f"RUN {args.run} is no folder; give the folder of a run")
    if args.max_completions < 1:
        raise ValueError(f"--max_completions is {args.max_completions}; it must be at least 1")
    if out.is_dir():
        raise ValueError(f"--out {out} is a folder; name a file in it")
    if not os.access(out.parent, os.W_OK | os.X_OK):
        raise ValueError(f"--out {out}: its folder is not there or cannot be written; name a file in another one")


def find_all(dumps: list[Path]) -> list[VisitRows]:
    """The visits of all dumps; ValueError when there are none."""
    paths = [p for path in find_files(dumps) for p in (candidates_path(path), path) if p.is_file()]
    with tqdm(paths, desc="Find visits", unit="file") as files:
        visits = [visit for path in files for visit in find_visits(path)]
    if not visits:
        raise ValueError(f"{', '.join(map(str, dumps))}: the files hold no completions; give the dump of another run")
    return visits


def read_problems(visits: list[VisitRows], model: str) -> list[ProblemData]:
    codec = TokenizerCodec(model)
    with tqdm(total=Count.of(visits).completions, desc="Read", unit="completion") as progress:
        return build_problems(visits, codec, progress.update)


def curves_or_note(run: Path) -> tuple[list[CurveData], str]:
    """The curves, or why there are none."""
    try:
        curves = read_curves(run)
        return curves, "" if curves else "The TensorBoard log is none of train_ppo_ray, so no curves."
    except FileNotFoundError:
        return [], "There is no TensorBoard log below the run's folder, so no curves."
    except ImportError:
        return [], "The curves are missing: tensorboard is not installed."


def write_report(args: argparse.Namespace, out: Path) -> str:
    """Write the page; returns what it shows of the dump. ValueError or OSError, and no page, for bad input."""
    check_args(args, out)
    summary = find_summary(args.run)
    flags = summary.flags or explored_with(args.run)
    dumps, model = dumps_of(args, flags), model_of(args, summary, flags)
    found = find_all(dumps)
    shown = sample_visits(found, args.max_completions, args.seed)
    sampling = sampling_sentence(Count.of(shown), Count.of(found), args.seed, args.max_completions)
    problems = read_problems(shown, model)
    curves, note = curves_or_note(args.run)
    known = facts(summary.everything)
    title = f"MARGE run {args.run.resolve().name}"
    data = dict(
        title=title, sampling=sampling, headline=headline(known), facts=list(known.items()), flags=list(flags.items()),
        curves=curves, curvesNote=note, failures=list(FAILURES.values()), problems=problems,
    )  # fmt: skip
    with writing(out) as file:
        file.write(render(title, data))
    outside = None if args.dump else foreign_sentence(args.run, dumps)
    return f"{sampling} ({outside})" if outside else sampling


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    out = args.out or args.run / "report.html"
    return exit_status("report", lambda: f"{out}: {write_report(args, out)}")


if __name__ == "__main__":
    sys.exit(main())
