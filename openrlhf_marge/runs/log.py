"""The TensorBoard log of a run -> series of numbers."""

from __future__ import annotations

from pathlib import Path

from openrlhf_marge.method.metrics import STATE_VALUE

# Names that OpenRLHF gives to numbers that are read again.
TRAIN = "train/"  # its loggers put this before those of a step, MARGE's among them
REWARD, LENGTH, SAMPLES = "rollout/reward_mean", "rollout/response_length_mean", "rollout/num_samples"
KL, LEARNING_RATE = "kl", "actor_lr"
ENTROPY = "entropy_loss"  # with --actor.entropy_coef alone; 0 only logs it
TIMING = "timing/"  # the names of its phases follow

Series = dict[str, list[tuple[int, float]]]  # tag -> (step, value), in order of the steps


def read_series(tensorboard_dir: Path) -> Series:
    """All scalars of the one run below ``tensorboard_dir``; FileNotFoundError when there is none.

    Every start of the run writes a file, in a folder of its own unless --logger.wandb.run_name is set. The steps that
    a later start logs replace those of the earlier ones, from its first step on.
    """
    files = sorted(tensorboard_dir.rglob("events.out.tfevents.*"), key=lambda file: file.name)  # by the second
    if not files:
        raise FileNotFoundError(f"{tensorboard_dir} holds no TensorBoard log")
    series: Series = {}
    for logged in map(_read_file, files):
        start = min((points[0][0] for points in logged.values()), default=None)
        if start is not None:
            series = {tag: [point for point in points if point[0] < start] for tag, points in series.items()}
        for tag, points in logged.items():
            series[tag] = series.get(tag, []) + points
    return {tag: points for tag, points in series.items() if points}


def _read_file(file: Path) -> Series:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    accumulator = EventAccumulator(str(file), size_guidance={"scalars": 0})
    accumulator.Reload()
    return {
        tag: [(event.step, event.value) for event in accumulator.Scalars(tag)] for tag in accumulator.Tags()["scalars"]
    }


def total(series: Series, tag: str) -> float:
    """Sum over the steps; KeyError when the run did not log the tag."""
    return sum(value for _, value in series[tag])


def mean(series: Series, tag: str) -> float:
    """Mean over the steps; KeyError when the run did not log the tag."""
    return total(series, tag) / len(series[tag])


def state_value_curve(series: Series, kind: str) -> list[tuple[int, float]]:
    """(state index, mean value) for guidance of one kind, 'correct' or 'incorrect' (Fig. 3)."""
    return [(index, mean(series, tag)) for index, tag in value_tags(series, kind)]


def value_tags(series: Series, kind: str) -> list[tuple[int, str]]:
    """(state index, tag of its values) for guidance of one kind, in order."""
    prefix = TRAIN + STATE_VALUE.format(kind=kind)
    return sorted((int(tag.removeprefix(prefix)), tag) for tag in series if tag.startswith(prefix))
