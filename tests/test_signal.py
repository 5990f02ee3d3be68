"""A step without signal is said; a run without any ends with an error in place of a model."""

from types import SimpleNamespace

import pytest

pytest.importorskip("openrlhf", reason="the host is not installed")

import torch
from openrlhf.trainer.ppo_trainer import BasePPOTrainer

from openrlhf_marge import GuidancePool, MargeConfig
from openrlhf_marge.host.rollout.experiences import EPISODE
from openrlhf_marge.host.training import keeps_records
from openrlhf_marge.host.training import keeps_records as trainer_module
from openrlhf_marge.host.training.keeps_records import KeepsRecords
from openrlhf_marge.method.guidance import PoolState

from host_objects import batch_of, experience_maker, group_of

LOOK = "look at the problems' difficulty (train/marge/pass_rate), at the grader and at --rollout.n_samples_per_prompt"


@pytest.mark.parametrize(
    ("rewards", "gain", "advantage", "signal"),
    [
        ((1.0, 1.0), 0.0, "group_norm", False),
        ((0.0, 0.0), 0.0, "vine", False),
        ((0.0, 0.0), -0.5, "vine", True),
        ((1.0, 0.0), 0.0, "leave_one_out", True),
        ((0.6, 0.5), 0.0, "mean", True),
    ],
)
def test_the_maker_sees_whether_any_advantage_was_not_zero(rewards, gain, advantage, signal):
    groups = [group_of((1.0, 1.0), 1), group_of(rewards, 2, prefix_ids=(8, 9), segment=2, value_gain=gain)]
    maker = experience_maker(advantage=advantage)
    maker.compute_advantages_and_returns([batch_of(groups, range(4), credits_prefix=advantage == "vine")])
    assert maker.has_signal is signal
    maker.compute_advantages_and_returns([batch_of([groups[0]], range(2))])
    assert not maker.has_signal  # of the last batch


def test_a_kl_in_the_rewards_is_no_signal():
    batch = batch_of([group_of((1.0, 1.0), 1)], (0, 1))
    batch.kl = batch.action_mask.float()
    maker = experience_maker(kl_coef=0.1, reference="initial", use_loss=False)
    (made,) = maker.compute_advantages_and_returns([batch])
    assert made.advantages.any() and not maker.has_signal


def test_a_penalty_for_truncated_responses_is_a_signal():
    batch = batch_of([group_of((0.0, 0.0), 1)], (0, 1))
    batch.truncated = torch.tensor([True, False])
    maker = experience_maker()
    maker.args.reward.stop_properly_penalty_coef = -0.5
    maker.compute_advantages_and_returns([batch])
    assert maker.has_signal


class Trainer(KeepsRecords):
    """What is ours in the trainers, in a loop of the host's over ``signals``, one per step."""

    def __init__(self, signals) -> None:
        self.args = SimpleNamespace(
            train=SimpleNamespace(batch_size=8, max_epochs=1, enable_ema=False), marge=MargeConfig(expected_states=4.0)
        )
        self.experience_maker, self.actor_model_group = experience_maker(), None
        self.signals, self._trained_steps = signals, 0


@pytest.fixture
def said(monkeypatch):
    """What the trainer logs; the host's part of it is replaced."""

    def fit(trainer, step):
        for _ in trainer.signals:
            _, step = trainer.train_step([SimpleNamespace(info={EPISODE: torch.tensor([0])})], step)

    def train_step(trainer, samples, step):
        trainer.experience_maker.has_signal = trainer.signals[step]
        return {}, step + 1

    sentences = []
    monkeypatch.setattr(BasePPOTrainer, "fit", fit)
    monkeypatch.setattr(BasePPOTrainer, "train_step", train_step)
    monkeypatch.setattr(KeepsRecords, "_seed_actors", lambda self, step: None)
    monkeypatch.setattr(trainer_module, "hold_ends", lambda group: 4)
    monkeypatch.setattr(trainer_module, "taken_steps", lambda group: 3)
    logger = SimpleNamespace(info=sentences.append, warning=sentences.append)
    monkeypatch.setattr(trainer_module, "logger", logger)
    return sentences


def test_a_run_without_any_signal_says_so_at_every_step_and_ends_with_an_error(said):
    with pytest.raises(RuntimeError) as error:
        Trainer([False, False]).fit()
    assert str(error.value) == (
        "training ended without a signal: in all 2 global steps no two rewards of a group differed, so every "
        f"advantage was zero and no model is saved; {LOOK}"
    )
    assert said == [
        f"Global step {step} had no signal: in none of its groups do two rewards differ, so every advantage is zero; "
        f"{LOOK}"
        for step in (1, 2)
    ]


def test_a_run_with_signal_in_one_step_ends_with_its_steps(said):
    Trainer([False, True, False]).fit()
    assert [sentence[:27] for sentence in said[:-1]] == ["Global step 1 had no signal", "Global step 3 had no signal"]
    assert said[-1].startswith("Training took 3 optimizer steps; the learning-rate schedule was planned for 4, and")
    assert said[-1].endswith("for 3 with --marge.expected_states 3.00")


def test_a_run_without_a_step_still_ends_with_its_own_error(said):
    with pytest.raises(RuntimeError, match="training ended without a step: no 8 completions came together"):
        Trainer([]).fit()


@pytest.mark.parametrize(
    ("saved", "fails"), [({"marge_had_signal": False}, True), ({"marge_had_signal": True}, False), ({}, False)]
)
def test_signal_before_a_checkpoint_counts_after_it(said, monkeypatch, saved, fails):
    """A checkpoint of an older version does not say; then the run is not stopped."""
    monkeypatch.setattr(BasePPOTrainer, "init_checkpoint_states", lambda self: {"global_step": 3, **saved})
    store = SimpleNamespace(read_state=lambda step, kind: SimpleNamespace(episode=1, skipped=0))
    monkeypatch.setattr(KeepsRecords, "_store", store)
    monkeypatch.setattr(KeepsRecords, "_restore", lambda self, record: None)
    trainer = Trainer([])
    trainer.init_checkpoint_states()
    assert trainer._own_states()["marge_had_signal"] is not fails
    if fails:
        with pytest.raises(RuntimeError, match="without a signal"):
            trainer.fit()
    else:
        trainer.fit()


def test_a_reference_is_taken_once_an_episode_and_the_maker_knows_the_step(said, monkeypatch):
    taken, steps = [], []
    monkeypatch.setattr(keeps_records, "EpisodeReference", lambda trainer: SimpleNamespace(take=taken.append))
    trainer = Trainer([True] * 5)
    trainer._planned_steps = 5
    trainer.args.marge = MargeConfig(reference="episode")
    for step, episode in enumerate((0, 0, 1, 1, 2)):
        trainer.train_step([SimpleNamespace(info={EPISODE: torch.tensor([episode])})], step)
        steps.append(trainer.experience_maker.step)
    assert taken == [1, 2] and steps == [1, 2, 3, 4, 5]


def test_skipped_steps_are_no_steps_of_the_optimizer(said):
    trainer = Trainer([])  # whose schedule has gone 3 steps
    trainer._skipped_steps = 2
    assert trainer._taken_steps() == 1


def test_every_step_and_rank_draws_its_own_order(monkeypatch):
    seeds = []
    actor = SimpleNamespace(__ray_call__=SimpleNamespace(remote=lambda function, seed: seeds.append(seed)))
    monkeypatch.setattr(keeps_records.ray, "get", list)
    trainer = KeepsRecords.__new__(KeepsRecords)
    trainer.args = SimpleNamespace(train=SimpleNamespace(seed=7))
    trainer.actor_model_group = SimpleNamespace(_actor_handlers=[actor, actor])
    for step in (0, 1, 0):
        trainer._seed_actors(step)
    assert len(set(seeds)) == 4 and seeds[:2] == seeds[4:]


def test_the_guidance_of_every_rollout_that_was_trained_on_is_saved(monkeypatch):
    monkeypatch.setattr(BasePPOTrainer, "save_logs_and_checkpoints", lambda *_: None, raising=False)
    trainer = KeepsRecords.__new__(KeepsRecords)
    trainer._recorded_pool = GuidancePool()  # of an asynchronous trainer, which has no generator
    trainer.args = SimpleNamespace(ckpt=SimpleNamespace(save_steps=2), marge=MargeConfig())
    for step, name in ((1, "a"), (3, "b")):
        record = SimpleNamespace(pool=PoolState(guidance={}, visits={name: step}), metrics={}, skipped=0)
        trainer.save_logs_and_checkpoints(step, {}, {"data_loader_state_dict": {"marge": record}})
    assert trainer._recorded_pool.state_dict().visits == {"a": 1, "b": 3}
