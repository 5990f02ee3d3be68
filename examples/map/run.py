"""The map: in which regimes which method pays, at equal generated tokens. Started by examples/map.sh.

    bash examples/map.sh [--tier 1|2|3] [--regimes NAME ...] [--methods NAME ...] [--seeds N ...] [--hours H]

Every finished run leaves its rows in examples/map/rows.csv, and what has its rows is not run again. Run folders are in
--out. Tables and the picture are made from the rows at the end; --tables makes them alone. A run leaves a core or two
free much of its time: two commands with different regimes or seeds may work beside each other.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.append(str(HERE.parent))

import tables  # noqa: E402 - beside this file
from made_rows import rows_of  # noqa: E402
from plans import METHODS, TRIALS, base_of, plan_of, read_methods, with_other_flags  # noqa: E402
from regimes import REGIMES, Regime  # noqa: E402
from rows import Row, add_rows, add_trials  # noqa: E402

from openrlhf_marge.cli import tune as cli_tune  # noqa: E402
from openrlhf_marge.cli.compare import running  # noqa: E402
from openrlhf_marge.cli.exits import exit_status  # noqa: E402
from openrlhf_marge.compare.runner import finish  # noqa: E402
from openrlhf_marge.compare.tuning import TrialRow, tuning_of  # noqa: E402
from openrlhf_marge.data.files import read_records  # noqa: E402

ROWS = HERE / "rows.csv"
TIERS = {
    1: ("Before", "GRPO", "GRPO, n = 40", "MARGE, paper", "MARGE, fresh", "frontier", "frontier, negatives 0"),
    2: (
        *("REINFORCE++", "PPO", "GRPO, dynamic filtering", "GRPO, negatives 0.25", "GRPO, negatives 0"),
        *("GRPO, iteration's reference", "GRPO, 3 epochs"),
        *("frontier, 3 epochs", "frontier, GRPO's KL", "frontier, initial reference"),
        *("frontier, failures only", "frontier, failures too"),
    ),
    3: (
        *("VinePPO", "VinePPO, K = 3", "MARGE, vine", "SPO-tree", "TreeRL"),
        *("MARGE-DPO", "Self-Explore", "MCTS-DPO", "DPO", "SFT"),
    ),
}
SEEDS = {1: (0, 1, 2, 3, 4), 2: (0, 1, 2), 3: (0, 1, 2)}


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--tier", type=int, choices=TIERS, default=1, help="which methods and how many seeds [1]")
    add("--regimes", nargs="+", choices=REGIMES, default=list(REGIMES), metavar="NAME", help=f"[{' '.join(REGIMES)}]")
    add("--methods", nargs="+", help="of methods.toml and pairs.toml, in place of the tier's; of [tune] with --tune")
    add("--seeds", type=int, nargs="+", help="in place of the tier's; to choose settings by, take others than these")
    add("--hours", type=float, help="begin no run after so many")
    add("--out", type=Path, default=Path("runs/map"), help="folder of the runs [%(default)s]")
    add("--rows", type=Path, default=ROWS, help="[examples/map/rows.csv]")
    add("--tables", action="store_true", help="run nothing, make tables and picture")
    add("--tune", action="store_true", help="run the trials of methods.toml's [tune] instead, which choose flags")
    return parser.parse_args(argv)


def planned(args: argparse.Namespace) -> Iterator[tuple[Regime, str, int]]:
    """Seed after seed, so that what was stopped early has all methods on as many seeds."""
    done = {row.run for row in read_records(args.rows, Row)}
    for seed in args.seeds or SEEDS[args.tier]:
        for name in args.regimes:
            for method in args.methods or TIERS[args.tier]:
                if (name, method, seed) not in done:
                    yield REGIMES[name], method, seed


def tune(regime: Regime, out: Path, methods: Sequence[str] | None = None) -> None:
    """The trials of a regime, their rows in trials.csv beside this file; RuntimeError when one fails."""
    folder = (out / "tune" / regime.name).absolute()
    plan = read_methods(regime, out, folder)
    tuned = tuning_of(plan)
    if methods is not None:
        if unknown := set(methods) - tuned.methods.keys():
            raise ValueError(f"--methods {min(unknown)}: {METHODS} has trials of {'; '.join(tuned.methods)}")
        plan = replace(plan, tune=replace(tuned, methods={name: tuned.methods[name] for name in methods}))
    for seed in tuned.seeds:
        regime.prepare(base_of(regime, out), seed)
    # They are chosen by pass@1, so the fewer responses of the marks do.
    evaluate = replace(plan.evaluate, flags=plan.evaluate.mark_flags)
    print(cli_tune.tune(replace(plan, evaluate=evaluate), folder))
    add_trials(TRIALS, regime.name, read_records(folder / "trials.csv", TrialRow))


def work(args: argparse.Namespace) -> str:
    """What the flags ask for; ValueError for bad input, RuntimeError when a run fails."""
    if args.tune:
        for name in args.regimes:
            tune(REGIMES[name], args.out, args.methods)
        return f"{TRIALS}: the trials of {', '.join(args.regimes)}"
    begin = time.monotonic()
    left = [] if args.tables else list(planned(args))
    print(f"{len(left)} runs are not in {args.rows} yet", flush=True)
    methods = dict.fromkeys((regime, method) for regime, method, _ in left)
    for said in with_other_flags(read_records(args.rows, Row), methods, args.out):
        print(said, flush=True)
    if left:
        with running() as runner:
            for number, (regime, method, seed) in enumerate(left, start=1):
                if args.hours and time.monotonic() - begin > 3600 * args.hours:
                    print(f"--hours {args.hours:g} are over; the same command goes on")
                    break
                print(f"== {number} of {len(left)}: {regime.name}, {method}, seed {seed}", flush=True)
                plan = plan_of(regime, method, seed, args.out)
                regime.prepare(base_of(regime, args.out), seed)
                (run,) = plan.runs
                add_rows(args.rows, rows_of(regime, plan, run, finish(plan, run, runner)))
    folder = args.rows.absolute().parent
    return f"{folder}: {args.rows.name}, {tables.write(read_records(args.rows, Row), folder)}"


def main() -> int:
    args = parse_args()
    return exit_status("map", lambda: work(args), "; the same command goes on")


if __name__ == "__main__":
    sys.exit(main())
