"""What a trainer keeps, by OpenRLHF's own code for checkpoints on actors that only write down what they are asked."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

pytest.importorskip("openrlhf", reason="the host is not installed")

import ray
import torch
from openrlhf.trainer.ppo_trainer import BasePPOTrainer
from openrlhf.utils.deepspeed.deepspeed import DeepspeedStrategy

from openrlhf_marge.host.rollout.records import RECORD, RolloutRecord
from openrlhf_marge.host.training import ema, keeps_records
from openrlhf_marge.host.training.keeps_records import KeepsRecords
from openrlhf_marge.method.guidance import GuidancePool

RECORDED = RolloutRecord(pool=GuidancePool().state_dict(), waiting=(), rollouts=1, episode=0)


class Trainer(KeepsRecords, BasePPOTrainer):
    def __init__(self, folder, best_metric_key=None):
        self.args = SimpleNamespace(
            ckpt=SimpleNamespace(path=str(folder), save_steps=1),
            logger=SimpleNamespace(logging_steps=1),
            marge=SimpleNamespace(leaves_out=True),
            train=SimpleNamespace(batch_size=32, max_epochs=2, enable_ema=False),
        )
        self.saved: list[tuple[str, float | None]] = []
        self.actor_model_group = SimpleNamespace(async_run_method=self._save)
        self.critic_model_group = self.wandb_logger = self.tensorboard_logger = self._latest_eval_metric_value = None
        self.best_eval_metric_key, self.best_eval_metric_value = best_metric_key, float("-inf")
        self._recorded_pool, self._last_record = GuidancePool(), RECORDED

    def _save(self, tag, metric_value, **_):
        self.saved.append((tag, metric_value))
        return []

    def states(self):
        return sorted(path.name for path in self._store._folder.glob("state_*"))


@pytest.fixture
def trainer(tmp_path, monkeypatch):
    monkeypatch.setattr(ray, "get", lambda refs: refs)
    return lambda **more: Trainer(tmp_path, **more)


def test_only_a_better_evaluation_writes_a_state(trainer):
    """A pool of 100,000 problems is a file of 0.8 GB."""
    run = trainer()
    for step, score in enumerate((0.5, 0.4, 0.5, 0.6), start=1):
        run._trained_steps = step
        run.save_best_checkpoint({"eval_x_pass1": score, "eval_x_pass2": 0.9}, step, {})
        assert run.states() == (["state_1.msgpack"] if step < 4 else ["state_1.msgpack", "state_4.msgpack"][1:])
    assert run.saved == [("best_global_step1", 0.5), ("best_global_step4", 0.6)]


@pytest.mark.parametrize("key", ["none", "eval_y_pass1"])
def test_without_a_metric_to_be_the_best_in_no_state_is_written(trainer, key):
    run = trainer(best_metric_key=key)
    run._trained_steps = 1
    run.save_best_checkpoint({"eval_x_pass1": 0.5}, 1, {})
    run.save_best_checkpoint(None, 1, {})
    assert run.saved == [] and run.states() == []


def test_checkpoints_in_between_have_no_metric_so_that_the_oldest_goes_first(trainer):
    """By the metric the host would remove the newest of a run that is past its best, before it writes the next."""
    run = trainer()
    run.args.marge.leaves_out = False
    for step, score in enumerate((0.55, 0.53, 0.51), start=1):
        run._trained_steps = step
        run.save_best_checkpoint({"eval_x_pass1": score}, step, {})
        run.save_logs_and_checkpoints(step, {}, {"data_loader_state_dict": {RECORD: RECORDED}})
    regular = [(tag, value) for tag, value in run.saved if not tag.startswith("best")]
    assert regular == [("global_step1", None), ("global_step2", None), ("global_step3", None)]


@pytest.mark.parametrize("accumulated", [1, 4])
def test_the_average_begins_at_the_policy_and_counts_on(accumulated):
    strategy = DeepspeedStrategy.__new__(DeepspeedStrategy)
    strategy.accumulated_gradient, strategy.use_dynamic_batch, strategy.stage = accumulated, False, 0
    strategy.time_steps = {"ema": 3}
    policy, average = torch.nn.Linear(2, 1), torch.nn.Linear(2, 1)
    ema._begin(SimpleNamespace(strategy=strategy, actor=policy, ema_model=average))
    assert torch.equal(average.weight, policy.weight) and torch.equal(average.bias, policy.bias)
    assert strategy.time_steps == {"ema": 3}


def test_a_resume_goes_on_where_the_checkpoint_was(trainer, monkeypatch):
    """100 completions were left out: three batches, so six steps; the host's episode is the one it was saved in."""
    saved = {"global_step": 3, "episode": 0, "marge_reference_episode": 2, "marge_had_signal": False}
    loaded = []
    monkeypatch.setattr(BasePPOTrainer, "init_checkpoint_states", lambda self: dict(saved))
    monkeypatch.setattr(keeps_records, "EpisodeReference", lambda of: SimpleNamespace(load=loaded.append))
    run = trainer()
    run._store.write_state(3, replace(RECORDED, episode=1, skipped=100))
    states = run.init_checkpoint_states()
    assert (states["episode"], loaded, run._skipped_steps, run._trained_steps) == (1, [2], 6, 3)
    assert run._own_states() == {"marge_reference_episode": 2, "marge_had_signal": False}


def test_the_schedule_moves_on_by_what_is_left_out_since_the_last_step(trainer, monkeypatch):
    moved = []
    monkeypatch.setattr(keeps_records, "move_on", lambda group, steps: moved.append(steps))
    run = trainer()
    for skipped in (32, 40, 96):
        run._skip_steps(replace(RECORDED, skipped=skipped))
    assert moved == [2, 0, 4] and run._skipped_steps == 6
