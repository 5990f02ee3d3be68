"""The TensorBoard log of a run -> series of numbers."""

from __future__ import annotations

from pathlib import Path

Series = dict[str, list[tuple[int, float]]]  # tag -> (step, value), in order of the steps


def read_series(tensorboard_dir: Path) -> Series:
    """All scalars of the one run below ``tensorboard_dir``; FileNotFoundError when there is none."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = sorted(tensorboard_dir.rglob("events.out.tfevents.*"))
    if not events:
        raise FileNotFoundError(f"{tensorboard_dir} holds no TensorBoard log")
    accumulator = EventAccumulator(str(events[-1].parent), size_guidance={"scalars": 0})
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
    prefix = f"train/marge/value_{kind}/state_"
    return sorted((int(tag.removeprefix(prefix)), tag) for tag in series if tag.startswith(prefix))
