"""A run folder -> its model and its way there: compare's own, the quickstarts', and cli.marge_dpo's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from openrlhf_marge.runs.log import read_series
from openrlhf_marge.runs.progress import ProgressPoint
from openrlhf_marge.runs.progress_files import points_of, read_points
from openrlhf_marge.runs.summary import LoopSummary, find_summary, read_summary

MODELS = ("model", "trained")  # compare and examples/scripts; examples/quickstart
DYNAMIC = "--train.dynamic_batch_enable"
COUNTED = ("explore", "pairs", "train")  # stages of an iteration that are its cost


@dataclass(frozen=True)
class Finished:
    """``model`` is a folder; ``points`` has one entry per update, [] for a model that was not trained here."""

    model: str
    points: Sequence[ProgressPoint]


def read_run(folder: Path) -> Finished:
    """ValueError, naming what is missing, when it is no finished run."""
    if not folder.is_dir():
        raise ValueError(f"{folder} is no folder; give that of a finished run")
    if (folder / "iteration_1").is_dir():
        return _read_loop(folder)
    models = [folder / name for name in MODELS if (folder / name / "config.json").is_file()]
    if not models:
        places = " nor ".join(str(folder / name / "config.json") for name in MODELS)
        raise ValueError(f"{folder} has no model: neither {places} is there; give the folder of a finished run")
    points = _read_points(folder)
    if not points:
        raise ValueError(f"{folder} made no update; give it more problems, or a smaller --train.batch_size")
    return Finished(str(models[0]), points)


def _read_points(folder: Path) -> list[ProgressPoint]:
    if (folder / "progress.jsonl").is_file():
        return read_points(folder / "progress.jsonl")
    try:
        points = points_of(read_series(folder))
    except FileNotFoundError:
        raise ValueError(
            f"{folder} has neither progress.jsonl nor a TensorBoard log, so what it used is not known; give a run "
            "that had --logger.tensorboard_dir in its folder"
        ) from None
    except KeyError as e:
        raise ValueError(f"the TensorBoard log of {folder} has no {e}; give a run of train_ppo_ray") from e
    except ValueError as e:
        raise ValueError(f"what {folder} used is not known from its TensorBoard log: {e}") from e
    flags = find_summary(folder).training_flags
    if not flags or DYNAMIC in flags:  # OpenRLHF then logs the entropy over the number of micro-batches
        points = [replace(point, entropy=None) for point in points]
    return points


def _read_loop(folder: Path) -> Finished:
    try:
        summary = read_summary(folder, LoopSummary)
    except (OSError, ValueError) as e:
        raise ValueError(f"{folder / 'summary.json'} cannot be read: {e}; give a loop's folder after its end") from e
    iterations = summary.iterations
    if not iterations or (folder / f"iteration_{len(iterations) + 1}").is_dir():
        raise ValueError(f"{folder} ended in its iteration {len(iterations) + 1}; go on with it first")
    points = [ProgressPoint()]
    for iteration in iterations:
        explored, before = iteration.explored, points[-1]
        points.append(
            ProgressPoint(
                updates=before.updates + 1,
                samples=before.samples + explored.completions,
                tokens=before.tokens + explored.generated_tokens,
                seconds=before.seconds + sum(iteration.seconds[stage] for stage in COUNTED),
                pass_rate=explored.pass_rate,
            )
        )
    return Finished(str(folder / f"iteration_{len(iterations)}" / "model"), points[1:])
