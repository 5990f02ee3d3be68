"""Progress of a run on disk: of a TensorBoard log, and in a file of an object per line."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

import msgspec

from openrlhf_marge.runs.log import TRAIN, Series
from openrlhf_marge.runs.progress import SAMPLED_TOKENS, ProgressPoint, advanced


def points_of(series: Series) -> list[ProgressPoint]:
    """The points of a TensorBoard log of train_ppo_ray; of a step that was logged twice, the later one counts.

    KeyError when the log is of something else, ValueError when it does not tell everything that was used.
    """
    steps: dict[int, dict[str, float]] = defaultdict(dict)
    for tag, values in series.items():
        if tag.startswith(TRAIN):
            for step, value in values:
                steps[step][tag.removeprefix(TRAIN)] = value
    if sorted(steps) != list(range(1, len(steps) + 1)):
        raise ValueError("not every step is in it; train with --logger.logging_steps 1, and resume into one folder")
    if any("dynamic_filtering_pass_rate" in logs and SAMPLED_TOKENS not in logs for logs in steps.values()):
        raise ValueError(
            "the run had --algo.dynamic_filtering_enable, which drops responses before they are counted; train with a "
            "budget (cli.budgeted, cli.compare), which counts them"
        )
    points = [ProgressPoint()]
    for step in sorted(steps):
        points.append(advanced(points[-1], steps[step]))
    return points[1:]


def write_points(path: Path, points: Iterable[ProgressPoint], *, append: bool = False) -> None:
    """A JSON object per line."""
    with path.open("a" if append else "w", encoding="utf-8") as file:
        file.writelines(json.dumps(asdict(point)) + "\n" for point in points)


def read_points(path: Path, most: int | None = None) -> list[ProgressPoint]:
    """What ``write_points`` wrote; at most so many from the start, behind which a crash may have left half a line.

    ValueError naming the line that is none.
    """
    points = []
    for number, line in enumerate(path.read_bytes().splitlines()[:most], start=1):
        try:
            point = msgspec.convert(json.loads(line), ProgressPoint)
            if not all(v is None or 0 <= v < math.inf for v in asdict(point).values()):  # also false for NaN
                raise ValueError("a number is negative or not finite")
        except (ValueError, RecursionError) as e:  # msgspec's errors are the first
            raise ValueError(f"{path}, line {number} is no progress of a run: {e}; mend it or run it again") from e
        points.append(point)
    return points
