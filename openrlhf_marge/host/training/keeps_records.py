"""What synchronous and asynchronous trainers share: records, metrics, references and checkpoints."""

from __future__ import annotations

import os
from typing import Any

import ray
from openrlhf.utils.logging_utils import init_logger
from transformers import set_seed

from openrlhf_marge.host.rollout.experiences import EPISODE
from openrlhf_marge.host.rollout.records import RECORD, RolloutRecord
from openrlhf_marge.host.training.adam import forget_powers
from openrlhf_marge.host.training.ema import begin_at_policies
from openrlhf_marge.host.training.reference import EpisodeReference
from openrlhf_marge.host.training.schedule import hold_ends, move_on, taken_steps
from openrlhf_marge.host.training.sharing import SharesPrefixes
from openrlhf_marge.method.guidance import GuidancePool
from openrlhf_marge.method.metrics import PLANNED_STEPS, SKIPPED_STEPS, TAKEN_STEPS
from openrlhf_marge.method.no_signal import check_learned, no_signal
from openrlhf_marge.method.schedule import end_of_plan, skipped_steps
from openrlhf_marge.runs.checkpoints import CheckpointStore
from openrlhf_marge.seeds import stable_hash

logger = init_logger(__name__)


class KeepsRecords(SharesPrefixes):
    """Goes before the host's class among the bases of a trainer."""

    _recorded_pool: GuidancePool  # the guidance of all problems up to the last rollout trained on
    _reference_episode = 0
    _had_signal = False  # whether any reward so far gave an advantage other than zero
    _skipped_steps = 0  # of the schedule, for what was not trained on
    _state_written = 0  # the step whose state is on disk

    def fit(self, global_step: int = 0) -> None:
        """Extends the host's: the schedule stays at its end; a run that learned nothing ends with an error."""
        self._planned_steps = hold_ends(self.actor_model_group)
        super().fit(global_step)
        check_learned(self._trained_steps, self._had_signal, self.args.train.batch_size)
        states, skipped = self.args.marge.scheduled_states, self._skipped_steps
        logger.info(end_of_plan(self._planned_steps, self._taken_steps(), states, skipped))

    def train_step(self, rollout_samples: list, global_step: int) -> tuple[dict[str, Any], int]:
        """Extends the host's: a new episode may want a new reference; the engines' next weights get their number."""
        episode = int(rollout_samples[0].info[EPISODE])
        if self.args.marge.reference == "episode" and episode != self._reference_episode:
            EpisodeReference(self).take(episode)
            self._reference_episode = episode
        self._trained_steps = self.experience_maker.step = global_step + 1
        self._seed_actors(global_step)
        status, global_step = super().train_step(rollout_samples, global_step)
        if not self.experience_maker.has_signal:
            logger.warning(no_signal(global_step))
        self._had_signal = self._had_signal or self.experience_maker.has_signal
        steps = {PLANNED_STEPS: float(self._planned_steps), TAKEN_STEPS: float(self._taken_steps())}
        return status | steps, global_step

    def _taken_steps(self) -> int:
        """Optimizer steps of the run, without those of the schedule that were skipped."""
        return taken_steps(self.actor_model_group) - self._skipped_steps

    def _skip_steps(self, record: RolloutRecord) -> dict[str, float]:
        """What was left out of the batches moves the schedule on, at the step that follows it."""
        if not self.args.marge.leaves_out:
            return {}
        before, self._skipped_steps = self._skipped_steps, skipped_steps(self.args, record.skipped)
        move_on(self.actor_model_group, self._skipped_steps - before)
        return {SKIPPED_STEPS: float(self._skipped_steps)}

    def _seed_actors(self, global_step: int) -> None:
        """The actors draw the order of their batches: from generators of this step, so that none has to be saved."""
        actors = self.actor_model_group._actor_handlers
        seeds = [stable_hash(self.args.train.seed, global_step, rank) % 2**32 for rank in range(len(actors))]
        ray.get([actor.__ray_call__.remote(_seed, seed) for actor, seed in zip(actors, seeds, strict=True)])

    def save_logs_and_checkpoints(self, global_step: int, logs_dict=None, client_states=None) -> None:
        """Extends the host's: the rollout's metrics are logged, its state is saved with the same step's weights."""
        record: RolloutRecord = client_states["data_loader_state_dict"].pop(RECORD)
        self._recorded_pool.update(record.pool)
        self._last_record = record
        metrics = record.metrics | self._skip_steps(record)
        saves = global_step % self.args.ckpt.save_steps == 0
        if saves:
            # Without a metric the host removes the oldest checkpoint, and not that of the lowest, often the newest.
            self._latest_eval_metric_value = None
            self._write_state(global_step)
            client_states |= self._own_states()
        super().save_logs_and_checkpoints(global_step, (logs_dict or {}) | metrics, client_states)
        if saves:
            self._commit(f"global_step{global_step}", global_step)

    def save_best_checkpoint(self, eval_metrics, global_step: int, client_states=None) -> None:
        """Extends the host's in the same way."""
        best = self.best_eval_metric_value
        if (eval_metrics or {}).get(self._detect_eval_metric_key(eval_metrics or {}), best) > best:
            self._write_state(self._trained_steps)
        super().save_best_checkpoint(eval_metrics, global_step, (client_states or {}) | self._own_states())
        if self.best_eval_metric_value > best:
            self._commit(f"best_global_step{global_step}", self._trained_steps)

    def init_checkpoint_states(self) -> dict[str, Any]:
        """Extends the host's: its episode is the one that was saved in, ours the one to go on with."""
        states = super().init_checkpoint_states()
        self._trained_steps = states["global_step"]
        if self._trained_steps:
            record = self._store.read_state(self._trained_steps, RolloutRecord)
            self._reference_episode = states.get("marge_reference_episode", 0)
            self._had_signal = states.get("marge_had_signal", True)  # older checkpoints do not say
            if self._reference_episode:
                EpisodeReference(self).load(self._reference_episode)
            if self.args.train.enable_ema:
                begin_at_policies(self.actor_model_group)
                logger.warning("--train.enable_ema: the moving average begins anew, at the checkpoint's policy")
            self._restore(record)
            self._last_record, self._state_written = record, self._trained_steps
            self._skipped_steps = skipped_steps(self.args, record.skipped)
            logger.info(f"Resumed with {record}")
            states["episode"] = record.episode
        return states

    def _own_states(self) -> dict[str, Any]:
        """What OpenRLHF's checkpoint keeps for us beside its own states."""
        return {"marge_reference_episode": self._reference_episode, "marge_had_signal": self._had_signal}

    def _restore(self, record: RolloutRecord) -> None:
        self._recorded_pool.update(record.pool)

    @property
    def _store(self) -> CheckpointStore:
        return CheckpointStore(os.path.join(self.args.ckpt.path, "_marge"))

    def _write_state(self, step: int) -> None:
        if self._state_written != step:
            self._store.write_state(step, self._last_record.with_pool(self._recorded_pool.state_dict()))
            self._state_written = step

    def _commit(self, tag: str, step: int) -> None:
        actor = os.path.join(self.args.ckpt.path, "_actor")
        self._store.commit(tag, step, set(os.listdir(actor)) if os.path.isdir(actor) else set())


def _seed(_actor: Any, seed: int) -> None:
    set_seed(seed)
    forget_powers()  # the other state of a process that no checkpoint holds
