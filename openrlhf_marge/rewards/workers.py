"""``--workers`` of the commands that grade: as many threads as processes, since a thread waits for its process."""

from __future__ import annotations

import argparse
import os

from openrlhf_marge.grading.shared import shared_pool, usable_cores


def add_workers(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--workers",
        type=int,
        default=usable_cores(),
        help="answers graded at once, in as many processes unless MARGE_GRADER_WORKERS is set [default: the cores "
        "that it may use]",
    )


def check_workers(parser: argparse.ArgumentParser, workers: int) -> None:
    """End with a sentence when there are none."""
    if workers < 1:
        parser.error(f"--workers {workers} must be at least 1")


def start_pool(workers: int) -> None:
    """Size the pool of this process before it is first used; ValueError for a bad setting in the environment."""
    os.environ.setdefault("MARGE_GRADER_WORKERS", str(workers))
    shared_pool()
