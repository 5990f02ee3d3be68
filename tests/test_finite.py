"""What is not finite ends the run at once, and is named: experiences here, loss and gradients in test_zero.py."""

import math
from types import SimpleNamespace

import pytest

pytest.importorskip("openrlhf", reason="the host is not installed")

import torch
from openrlhf.trainer.ppo_trainer import BasePPOTrainer
from openrlhf.trainer.ppo_utils.kl_controller import FixedKLController
from test_host_adapters import experience_of, group_of

from openrlhf_marge import MargeConfig
from openrlhf_marge.host.rollout.experiences import EPISODE
from openrlhf_marge.host.training.experience_maker import GroupExperienceMaker
from openrlhf_marge.host.training.keeps_records import KeepsRecords

RANKS = 2
BIG = 1e38


class Maker(GroupExperienceMaker):
    """All but the models: three micro-batches of two samples come back from two ranks, with values set by a test."""

    def __init__(self, broken, kl_coef=0.0):
        self.args = SimpleNamespace(
            algo=SimpleNamespace(kl=SimpleNamespace(use_loss=True)),
            marge=MargeConfig(reference="initial", advantage="mean"),
            reward=SimpleNamespace(clip_range=None, overlong_buffer_len=None, stop_properly_penalty_coef=None),
            rollout=SimpleNamespace(max_new_tokens=None, micro_batch_size=2, top_p=1.0),
            train=SimpleNamespace(dynamic_batch_enable=False, async_enable=False),
        )
        self.kl_ctl = FixedKLController(kl_coef)
        self.tokenizer = SimpleNamespace(pad_token_id=0)
        self.actor_model_group = SimpleNamespace(_actor_handlers=[None] * 2 * RANKS, duplicate_actors=2)
        self.initial_model_group = SimpleNamespace(_actor_handlers=[None], duplicate_actors=1)
        self.broken, self.step = broken, 7

    def make_experience(self, samples_list):
        for number, samples in enumerate(samples_list):
            zeros = torch.zeros(samples.action_mask.shape)
            samples.action_log_probs, samples.base_action_log_probs, samples.kl = zeros.clone(), zeros.clone(), zeros
            samples.info["kl"] = torch.zeros(len(zeros))
            for field, of_batch, index, value in self.broken:
                if of_batch == number:
                    (samples.info if field == "info_kl" else vars(samples))[field.removeprefix("info_")][index] = value
        return samples_list


def make(*broken, kl_coef=0.0):
    groups = [group_of((1.0, 0.0), i) for i in range(3)]
    samples = [experience_of(group, i) for group in groups for i in (0, 1)]
    return Maker(broken, kl_coef).make_experience_batch(samples)


@pytest.mark.parametrize(
    ("field", "index", "value", "sentence"),
    [
        ("rewards", 1, math.inf, "the rewards of sample 5 are not finite (1 of 2 samples of the micro-batch); "
         "look at the reward function, --reward.remote_url"),
        ("rollout_log_probs", (0, 2), -math.inf, "the engine's log-probs of sample 4 are not finite (1 of 2 samples "
         "of the micro-batch); look at the weights that the engines got, and --ds.param_dtype"),
        ("action_log_probs", (slice(0, 2), 4), math.nan, "the policy's log-probs of sample 4 are not finite on "
         "rank 1, micro-batch 1 (2 of 2 samples of the micro-batch); look at its weights, the learning rate and "
         "--ds.param_dtype"),
        ("base_action_log_probs", (1, 0), math.nan, "the reference's log-probs of sample 5 are not finite on rank 0, "
         "micro-batch 3 (1 of 2 samples of the micro-batch); look at the weights of the reference model"),
        ("info_kl", 0, math.nan, "the KL terms of sample 4 are not finite on rank 0, micro-batch 3 "
         "(1 of 2 samples of the micro-batch); look at the weights of the reference model"),
    ],
)  # fmt: skip
def test_a_value_that_is_not_finite_ends_the_run_in_one_sentence(field, index, value, sentence):
    with pytest.raises(FloatingPointError) as error:
        make((field, 2, index, value))
    assert str(error.value) == f"step 7: {sentence}"


def test_advantages_are_checked_too():
    with pytest.raises(FloatingPointError, match=r"step 7: the advantages of sample 2 are not .*--algo\.kl"):
        make(("kl", 1, (0, 4), BIG), kl_coef=10.0)


def test_the_cause_is_named_and_not_what_follows_from_it():
    broken = [("base_action_log_probs", 0, (0, 0), math.nan), ("action_log_probs", 2, (0, 0), math.nan)]
    with pytest.raises(FloatingPointError, match="the policy's log-probs of sample 4"):
        make(*broken)


def test_large_but_finite_values_pass():
    experiences = make(("action_log_probs", 0, (0, 0), -BIG), ("base_action_log_probs", 1, (1, 1), -BIG))
    assert [e.advantages.isfinite().all().item() for e in experiences] == [True] * 3


def test_the_step_that_is_named_is_the_one_that_is_logged(monkeypatch):
    trainer = KeepsRecords.__new__(KeepsRecords)
    trainer.args = SimpleNamespace(marge=MargeConfig())
    trainer.experience_maker = SimpleNamespace(step=0)
    monkeypatch.setattr(KeepsRecords, "_seed_actors", lambda *_: None)

    def fail(trainer, samples, global_step):
        raise FloatingPointError(f"step {trainer.experience_maker.step} is the step after {global_step}")

    monkeypatch.setattr(BasePPOTrainer, "train_step", fail)
    with pytest.raises(FloatingPointError, match="step 5 is the step after 4"):
        trainer.train_step([SimpleNamespace(info={EPISODE: torch.tensor([0])})], 4)
