"""A rollout without signal is said; a run without any ends with an error in place of a model."""

from types import SimpleNamespace

import pytest

pytest.importorskip("openrlhf", reason="the host is not installed")

from openrlhf.trainer.ppo_trainer import BasePPOTrainer

from openrlhf_marge.host import trainer as trainer_module
from openrlhf_marge.host.no_signal import no_signal
from openrlhf_marge.host.trainer import KeepsRecords

from factories import group
from host_objects import batch_of, experience_maker, group_of

LOOK = "look at the problems' difficulty (train/marge/pass_rate), at the grader and at --rollout.n_samples_per_prompt"


def test_a_rollout_without_signal_is_one_sentence_that_says_where_to_look():
    alike = [group(0, (1.0, 1.0)), group(1, (0.0, 0.0, 0.0)), group(2, (1.0,))]
    said = f"Rollout 7 has no signal, no two rewards of a group differ in its 3 groups; {LOOK}"
    assert no_signal(7, alike, False) == said
    assert no_signal(7, [], False) == f"Rollout 7 has no signal, no problem brought a group; {LOOK}"
    assert no_signal(7, [*alike, group(3, (1.0, 0.5))], False) is None


def test_values_that_differ_between_states_are_a_signal_with_prefix_credit_only():
    gained = [group_of((0.0, 0.0), 1), group_of((1.0, 1.0), 2, prefix_ids=(8,), segment=1, value_gain=1.0)]
    assert no_signal(1, gained, True) is None
    assert no_signal(1, gained, False) and no_signal(1, [gained[0]], True)


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
    assert maker.had_signal is signal
    maker.compute_advantages_and_returns([batch_of([groups[0]], range(2))])
    assert maker.had_signal is signal  # of the whole run


def test_a_kl_in_the_rewards_is_no_signal():
    batch = batch_of([group_of((1.0, 1.0), 1)], (0, 1))
    batch.kl = batch.action_mask.float()
    maker = experience_maker(kl_coef=0.1, reference="initial", use_loss=False)
    (made,) = maker.compute_advantages_and_returns([batch])
    assert made.advantages.any() and not maker.had_signal


@pytest.fixture
def trainer(monkeypatch):
    """The part of the trainers that is ours, after a loop of the host's that took three steps."""
    monkeypatch.setattr(BasePPOTrainer, "fit", lambda self, global_step: None)
    monkeypatch.setattr(trainer_module, "hold_ends", lambda group: 4)
    monkeypatch.setattr(trainer_module, "taken_steps", lambda group: 3)
    made = KeepsRecords.__new__(KeepsRecords)
    made.args, made.actor_model_group = SimpleNamespace(train=SimpleNamespace(batch_size=8)), None
    made.experience_maker, made._trained_steps = experience_maker(), 3
    return made


def test_a_run_without_any_signal_ends_with_an_error(trainer):
    with pytest.raises(RuntimeError) as error:
        trainer.fit()
    assert str(error.value) == (
        "training ended without a signal: in all 3 iterations no two rewards of a group differed, so every advantage "
        f"was zero and no model is saved; {LOOK}"
    )


def test_a_run_with_signal_ends_with_its_steps(trainer, monkeypatch):
    said = []
    monkeypatch.setattr(trainer_module, "logger", SimpleNamespace(info=said.append))
    trainer.experience_maker.had_signal = True
    trainer.fit()
    assert said == ["Training took 3 optimizer steps; the learning-rate schedule was planned for 4"]


@pytest.mark.parametrize(
    ("saved", "fails"), [({"marge_had_signal": False}, True), ({"marge_had_signal": True}, False), ({}, False)]
)
def test_signal_before_a_checkpoint_counts_after_it(trainer, monkeypatch, saved, fails):
    """A checkpoint of an older version does not say; then the run is not stopped."""
    monkeypatch.setattr(BasePPOTrainer, "init_checkpoint_states", lambda self: {"global_step": 3, **saved})
    monkeypatch.setattr(KeepsRecords, "_store", SimpleNamespace(read_state=lambda step: SimpleNamespace(episode=1)))
    monkeypatch.setattr(KeepsRecords, "_restore", lambda self, record: None)
    trainer.init_checkpoint_states()
    assert trainer._own_states()["marge_had_signal"] is not fails
    if fails:
        with pytest.raises(RuntimeError, match="without a signal"):
            trainer.fit()
    else:
        trainer.fit()
