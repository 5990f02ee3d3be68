"""The TensorBoard log of a run -> series of numbers, and the pictures drawn from them."""

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
    prefix = f"train/marge/value_{kind}/state_"
    return sorted((int(tag.removeprefix(prefix)), mean(series, tag)) for tag in series if tag.startswith(prefix))


def plot_reward(series: Series, path: Path, title: str) -> None:
    """Mean reward of the completions of every step."""
    steps, rewards = zip(*series["train/rollout/reward_mean"], strict=True)
    figure, axes = _figure(title, "training step", "mean reward of completions")
    axes.plot(steps, rewards, marker="o", color="tab:blue")
    axes.set_ylim(0, 1)
    figure.savefig(path)


def plot_state_values(series: Series, path: Path) -> None:
    """Value by state index, for correct and incorrect guidance (as Fig. 3)."""
    figure, axes = _figure("Value of the states of a guidance", "state index", "V(s_j), mean reward of its group")
    for kind, color in (("correct", "tab:blue"), ("incorrect", "tab:red")):
        curve = state_value_curve(series, kind)
        if curve:
            axes.plot(*zip(*curve, strict=True), marker="o", color=color, label=f"{kind} guidance")
    axes.set_ylim(0, 1)
    axes.legend()
    figure.savefig(path)


def _figure(title: str, x_label: str, y_label: str):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), dpi=120, layout="constrained")
    axes = figure.subplots()
    axes.set(title=title, xlabel=x_label, ylabel=y_label)
    axes.grid(alpha=0.3)
    axes.xaxis.get_major_locator().set_params(integer=True)  # steps and state indices
    return figure, axes
