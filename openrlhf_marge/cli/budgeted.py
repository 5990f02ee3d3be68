"""openrlhf.cli.train_ppo_ray, ended with the update after which another like it would end farther from its budget.

    python -m openrlhf_marge.cli.budgeted --budget.tokens 300000 --budget.progress FILE [flags of train_ppo_ray]

FILE gets a line per update (runs/progress.py). --train.num_episodes and --data.max_samples still bound the run.
--budget.marks 0.25 0.5 also keeps the models of the updates that would have ended a run of these shares of the budget,
in marks/25 and marks/50 beside FILE.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

from openrlhf_marge.runs.marks import check_marks
from openrlhf_marge.runs.progress import UNITS, RunBudget


def parse_own_args(argv: list[str] | None = None) -> tuple[RunBudget, Path, list[float], list[str]]:
    """Budget, progress file, marks, and the flags of train_ppo_ray."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    budget = parser.add_mutually_exclusive_group(required=True)
    for unit, text in UNITS.items():
        budget.add_argument(f"--budget.{unit}", type=float, help=f"{text} to train for")
    parser.add_argument("--budget.progress", type=Path, required=True, help="file to write")
    parser.add_argument(
        "--budget.marks",
        type=float,
        nargs="+",
        default=[],
        metavar="SHARE",
        help="of the budget, models to keep [none]",
    )
    own, flags = parser.parse_known_args(argv)
    given = {unit: getattr(own, f"budget.{unit}") for unit in UNITS}
    unit = next(unit for unit, amount in given.items() if amount is not None)
    if not 0 < given[unit] < math.inf:
        parser.error(f"--budget.{unit} is {given[unit]:g}; it must be a number above 0")
    marks = getattr(own, "budget.marks")
    try:
        check_marks(marks)
    except ValueError as e:
        parser.error(f"--budget.{e}")
    return RunBudget(unit, given[unit]), getattr(own, "budget.progress").absolute(), marks, flags


def main() -> None:
    budget, progress, marks, flags = parse_own_args()
    from openrlhf_marge.host.training.metered import train_within

    train_within(budget, progress, marks, flags)


if __name__ == "__main__":
    main()
