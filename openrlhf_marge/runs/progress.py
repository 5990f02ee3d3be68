"""Progress of a run after every update of its policy, and the budget that ends the run."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import msgspec

from openrlhf_marge.method.metrics import (
    EXPLORING_SECONDS,
    GENERATED_TOKENS,
    GROUPS_WITH_SIGNAL,
    PASS_RATE,
    TAKEN_STEPS,
)
from openrlhf_marge.runs.log import ENTROPY, LENGTH, REWARD, SAMPLES, TIMING, TRAIN, Series

UNITS = {"updates": "updates", "samples": "samples", "tokens": "generated tokens", "seconds": "seconds"}
MARK = "[budget] "  # before a line of a run's output that tells how far it is
# What a run with a budget logs beside the host's numbers.
OPTIMIZER_STEPS, SAMPLES_WITH_SIGNAL = "rollout/optimizer_steps", "rollout/samples_with_signal"
# Of OpenRLHF's own generator, what dynamic filtering drops included.
SAMPLED_TOKENS, SAMPLED_REWARD = "rollout/sampled_tokens", "rollout/sampled_reward_mean"
SAMPLING_SECONDS = "rollout/sampling_seconds"


@dataclass(frozen=True, kw_only=True)
class ProgressPoint:
    """What a run has used since it began, and how its last rollout did.

    ``updates`` are of the policy by one rollout each (OpenRLHF's global steps; iterations of the loop), ``samples``
    the responses and completions trained on (of a loop all that were explored), ``tokens`` what the engines sampled
    for training, MARGE's candidates and what dynamic filtering dropped included. ``seconds`` are those of sampling,
    grading, training and weight sync, without start, evaluation and saving (of a loop those of its stages but the
    evaluation, with start and saving).
    ``pass_rate`` is the share of correct ones among the rollout's responses from s_0, of MARGE by problem with
    candidates where there are no others, of the other methods their mean reward; so of the policy before the update.
    None where there were none.

    What follows is None where it is not known, as in logs and progress files of earlier versions. ``optimizer_steps``
    are those of the policy since the run began, ``groups_with_signal`` the share of the rollout's groups whose rewards
    differ. ``entropy`` is the policy's, in nats per token at the sampling temperature, over the tokens of this update
    (of MARGE those after its states), as OpenRLHF averages it: over micro-batches, which it weights by their tokens.
    """

    updates: int = 0
    samples: int = 0
    tokens: int = 0
    seconds: float = 0.0
    pass_rate: float | None = None
    optimizer_steps: int | None = None
    groups_with_signal: float | None = None
    entropy: float | None = None


@dataclass(frozen=True)
class RunBudget:
    """``amount`` of a unit in UNITS."""

    unit: str
    amount: float

    def used(self, point: ProgressPoint) -> float:
        return getattr(point, self.unit)

    def is_met(self, points: Sequence[ProgressPoint]) -> bool:
        """Whether one more update as large as the last one would end farther from the amount than the run is now."""
        if not points:
            return False
        before, now = [ProgressPoint(), *points][-2:]
        return self.used(now) + (self.used(now) - self.used(before)) / 2 >= self.amount

    def at(self, share: float) -> RunBudget:
        """A share of it."""
        return replace(self, amount=self.amount * share)

    def met_at(self, points: Sequence[ProgressPoint]) -> int | None:
        """The number of updates, from 1 on, with which it was first met; None when it is not."""
        return next((n for n in range(1, len(points) + 1) if self.is_met(points[max(0, n - 2) : n])), None)


def advanced(before: ProgressPoint, logs: Mapping[str, float]) -> ProgressPoint:
    """The point after an update that logged ``logs`` (OpenRLHF's status, ``_compute_rollout_stats``; marge/)."""
    samples = logs[SAMPLES]
    guided = GENERATED_TOKENS in logs
    tokens = logs[GENERATED_TOKENS] if guided else logs.get(SAMPLED_TOKENS, samples * logs[LENGTH])
    # The host forgets the generation of rollouts that filled no training batch, which these seconds hold.
    sampling = logs[EXPLORING_SECONDS] if guided else logs.get(SAMPLING_SECONDS, 0.0)
    forgotten = max(0.0, sampling - logs.get(f"{TIMING}generation", sampling))
    steps = logs.get(TAKEN_STEPS, logs.get(OPTIMIZER_STEPS))
    return ProgressPoint(
        updates=before.updates + 1,
        samples=before.samples + round(samples),
        tokens=before.tokens + round(tokens),
        seconds=before.seconds + logs[f"{TIMING}step_total"] + forgotten,
        pass_rate=logs.get(PASS_RATE) if guided else logs.get(SAMPLED_REWARD, logs[REWARD]),
        optimizer_steps=None if steps is None else round(steps),
        groups_with_signal=logs.get(GROUPS_WITH_SIGNAL if guided else SAMPLES_WITH_SIGNAL),
        entropy=logs.get(ENTROPY),
    )


def continued(before: ProgressPoint, points: Sequence[ProgressPoint]) -> list[ProgressPoint]:
    """The points of a run that began when ``before`` had been used; optimizer steps are known where all are."""
    return [
        replace(
            point,
            updates=before.updates + point.updates,
            samples=before.samples + point.samples,
            tokens=before.tokens + point.tokens,
            seconds=before.seconds + point.seconds,
            optimizer_steps=_both(before.optimizer_steps, point.optimizer_steps),
        )
        for point in points
    ]


def _both(before: int | None, now: int | None) -> int | None:
    return None if before is None or now is None else before + now


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
