"""Progress of a run after every update of its policy, and the budget that ends the run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from openrlhf_marge.method.metrics import (
    EXPLORING_SECONDS,
    GENERATED_TOKENS,
    GROUPS_AFTER_S0,
    GROUPS_WITH_SIGNAL,
    PASS_RATE,
    TAKEN_STEPS,
)
from openrlhf_marge.runs.log import ENTROPY, LENGTH, REWARD, SAMPLES, TIMING

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
    ``pass_rate`` is the share of correct ones among the rollout's responses from s_0, of MARGE by problem, of
    its candidates where there are any, of the other methods their mean reward; so of the policy before the update.
    None where there were none.

    What follows is None where it is not known, as in logs and progress files of earlier versions. ``optimizer_steps``
    are those of the policy since the run began, ``groups_with_signal`` the share of the rollout's groups whose rewards
    differ, ``groups_after_s0`` the share whose state is after s_0, so how much of it was guided. ``entropy`` is
    the policy's, in nats per token at the sampling temperature, over the tokens of this update (of MARGE those after
    its states), as OpenRLHF averages it: over micro-batches' shares of a step, which it weights by their tokens once
    more. None with dynamic batches, of which that makes the entropy over the number of micro-batches.
    """

    updates: int = 0
    samples: int = 0
    tokens: int = 0
    seconds: float = 0.0
    pass_rate: float | None = None
    optimizer_steps: int | None = None
    groups_with_signal: float | None = None
    groups_after_s0: float | None = None
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

    def used_when_met(self, points: Sequence[ProgressPoint]) -> float:
        """What the model has used that is kept for it: when it was first met, or at the end when it was not."""
        return self.used(points[(self.met_at(points) or len(points)) - 1])


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
        groups_after_s0=logs.get(GROUPS_AFTER_S0),
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
