"""OpenRLHF's synchronous trainers, ending at a budget (extends trainer/ppo_trainer.py); see ``cli/budgeted.py``."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from openrlhf.trainer.experience_maker_registry import load_experience_maker
from openrlhf.trainer.ppo_trainer import LocalPPOTrainer
from openrlhf.utils.logging_utils import init_logger

from openrlhf_marge.host.training.marks import save_policy
from openrlhf_marge.host.training.sampling_meter import SamplingMeter
from openrlhf_marge.host.training.schedule import taken_steps
from openrlhf_marge.method.metrics import TAKEN_STEPS
from openrlhf_marge.runs.marks import mark_folder
from openrlhf_marge.runs.progress import (
    MARK,
    OPTIMIZER_STEPS,
    SAMPLES_WITH_SIGNAL,
    UNITS,
    ProgressPoint,
    RunBudget,
    advanced,
)
from openrlhf_marge.runs.progress_files import read_points, write_points

logger = init_logger(__name__)


class BudgetMet(Exception):
    """The run has used its budget."""


class MeteredTrainer(LocalPPOTrainer):
    """Notes every update in ``progress`` and begins none after the budget; the model is then saved as ever.

    At each of ``marks``, shares of the budget, the policy is kept beside ``progress`` (runs/marks.py).

    In the method resolution order this class stands between MARGE's trainer and OpenRLHF's, so it receives the final
    metrics, MARGE's included.
    """

    budget: RunBudget
    progress: Path
    marks: Sequence[float]

    def fit(self, global_step: int = 0) -> None:
        self._meter = SamplingMeter(self.samples_generator)

        def generate_within_budget(**kwargs: Any) -> Any:
            if self.budget.is_met(self._points):
                raise BudgetMet
            return self._meter.generate(**kwargs)

        self.samples_generator.generate_samples = generate_within_budget
        try:
            super().fit(global_step)
        except BudgetMet:
            for tracker in filter(None, (self.wandb_logger, self.tensorboard_logger)):
                tracker.close()

    def init_checkpoint_states(self) -> dict[str, Any]:
        """Extends the host's: a run that goes on has used what it had up to its checkpoint."""
        states = super().init_checkpoint_states()
        done = states["global_step"]
        self._points = read_points(self.progress, done) if done else []
        write_points(self.progress, self._points)
        self._check_marks()
        return states

    def _check_marks(self) -> None:
        """What the updates to come will save again goes; ValueError when what the others have saved is not there."""
        for share in self.marks:
            folder = mark_folder(self.progress.parent, share)
            met_at = self.budget.at(share).met_at(self._points)
            if met_at is None:
                shutil.rmtree(folder, ignore_errors=True)
            elif not folder.is_dir():
                raise ValueError(
                    f"--budget.marks {share:g} was met at update {met_at}, before the checkpoint to go on from, and "
                    f"{folder} is not there; leave that mark out, or begin in another folder"
                )

    def _compute_rollout_stats(self, experiences: list[Any]) -> dict[str, float]:
        """Extends the host's by the share of samples in groups with signal, which is that of groups of one size."""
        stats = super()._compute_rollout_stats(experiences)
        stds = [experience.info.get("group_reward_std") for experience in experiences]
        if any(std is None for std in stds):  # a response a prompt makes no group
            return stats
        return stats | {SAMPLES_WITH_SIGNAL: (torch.cat(stds) > 0).float().mean().item()}

    def save_logs_and_checkpoints(self, global_step: int, logs_dict=None, client_states=None) -> None:
        """Extends the host's: point and marks are on disk before a checkpoint can count on them."""
        sampled = self._meter.take()  # MARGE logs its own, with its candidates
        if TAKEN_STEPS not in logs_dict:
            logs_dict = logs_dict | {OPTIMIZER_STEPS: float(taken_steps(self.actor_model_group))} | sampled
        point = advanced(self._points[-1] if self._points else ProgressPoint(), logs_dict)
        if self.args.train.dynamic_batch_enable:
            point = replace(point, entropy=None)  # OpenRLHF's number is another one then, see ProgressPoint
        self._points.append(point)
        write_points(self.progress, [point], append=True)
        used, unit = self.budget.used(point), UNITS[self.budget.unit]
        rate = "" if point.pass_rate is None else f"; pass rate {point.pass_rate:.3f}"
        logger.info(f"{MARK}step {global_step}: {used:,.0f} of {self.budget.amount:,.0f} {unit}{rate}")
        for share in self.marks:
            if self.budget.at(share).met_at(self._points) == len(self._points):
                save_policy(self.actor_model_group, mark_folder(self.progress.parent, share))
        super().save_logs_and_checkpoints(global_step, logs_dict, client_states)


def metered(trainer: type, budget: RunBudget, progress: Path, marks: Sequence[float] = ()) -> type:
    """The trainer class with a budget and marks."""
    bases = (MeteredTrainer,) if issubclass(MeteredTrainer, trainer) else (trainer, MeteredTrainer)
    return type("MeteredTrainer", bases, {"budget": budget, "progress": progress, "marks": marks})


def train_within(budget: RunBudget, progress: Path, marks: Sequence[float], flags: Sequence[str]) -> None:
    """A whole run of train_ppo_ray with these flags, with whatever experience maker they name."""
    from openrlhf.cli.train_ppo_ray import parse_args, train

    args = parse_args(flags)
    maker = load_experience_maker(args.experience_maker)
    trainer = metered(maker.trainer_class(args), budget, progress, marks)
    maker.trainer_class = lambda _args: trainer
    train(args, maker)
