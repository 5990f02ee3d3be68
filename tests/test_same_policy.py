"""What is said where the engines sample from another policy than the trained one."""

import math
from types import SimpleNamespace

import pytest

pytest.importorskip("openrlhf", reason="the host is not installed")

import torch
from openrlhf.trainer.ppo_utils.experience_maker import RemoteExperienceMaker

from openrlhf_marge import MargeConfig
from openrlhf_marge.host.rollout.experiences import WEIGHTS
from openrlhf_marge.host.training import experience_maker as module
from openrlhf_marge.host.training.same_policy import AGE, DIFFERS, compare_policies, other_policy

from host_objects import batch_of, experience_maker, group_of

ENGINE = torch.tensor([[0.0, 0.0, -0.1, -0.2, -0.3]])  # of a prompt of three tokens and a completion of three


def micro_batch(policy, versions=None, rollout=True):
    """Completions whose engine gave -0.1, -0.2 and -0.3; ``policy`` has a row of three for each."""
    batch = batch_of([group_of([1.0] * len(policy), 0)], range(len(policy)))
    batch.action_log_probs = torch.cat([torch.zeros(len(policy), 2), torch.tensor(policy)], dim=1)
    batch.info[WEIGHTS] = torch.tensor(versions or [4] * len(policy))
    batch.rollout_log_probs = batch.rollout_log_probs if rollout else None
    return batch


def test_the_engines_log_probs_stand_where_the_policys_do():
    assert torch.equal(micro_batch([[0.0] * 3]).rollout_log_probs, ENGINE)


def test_tokens_farther_than_a_tenth_are_counted_and_near_misses_are_not():
    one = micro_batch([[-0.1, -0.2, -0.3], [-0.19, -0.29, -0.39]])
    other = micro_batch([[-0.1, -0.31, -0.3], [-0.3, 0.0, -0.41]])
    assert compare_policies([one, other], top_p=1.0) == 4 / 12
    for batch in (one, other):  # so that the mean over samples that is logged is that of tokens
        assert batch.info[DIFFERS].tolist() == pytest.approx([1 / 3, 1 / 3])
    assert WEIGHTS not in one.info and WEIGHTS not in other.info


def test_an_engine_that_leaves_unlikely_tokens_out_makes_the_others_likelier():
    halved = [[-0.1 + math.log(0.5), -0.2 + math.log(0.5), -0.3 + 2 * math.log(0.5)]]
    assert compare_policies([micro_batch(halved)], top_p=0.5) == pytest.approx(1 / 3)


def test_older_completions_are_told_by_their_age_alone():
    batch = micro_batch([[-0.1, -0.2, -0.3], [-9.0, -9.0, -9.0]], versions=[7, 5])
    assert compare_policies([batch], top_p=1.0) == 0.0
    assert batch.info[AGE].tolist() == [0.0, 2.0] and batch.info[DIFFERS].tolist() == [0.0, 0.0]


def test_guidance_tokens_are_not_compared():
    """They are trained on with prefix credit; the engine did not sample them, so it has no log-prob of them."""
    batch = micro_batch([[-0.1, -0.2, -0.3]])
    batch.action_mask[:] = True
    batch.action_log_probs[:, :2] = -9.0
    assert compare_policies([batch], top_p=1.0) == 0.0


def test_without_log_probs_nothing_is_compared():
    batch = micro_batch([[-9.0] * 3], rollout=False)
    assert compare_policies([batch], top_p=1.0) is None and DIFFERS not in batch.info


def test_the_sentence_comes_above_a_fifth():
    assert other_policy(None, 3) is other_policy(0.2, 3) is None
    assert other_policy(0.21, 3).startswith(
        "In global step 3 the log-probs of engine and policy differ by more than 0.1"
    )


@pytest.mark.parametrize(
    ("asynchronous", "replay_dir", "sentences"), [(False, None, 1), (True, None, 0), (False, "dumps", 0)]
)
def test_it_is_said_once_where_the_policies_should_be_the_same(monkeypatch, asynchronous, replay_dir, sentences):
    said = []
    monkeypatch.setattr(module.logger, "warning", said.append)
    monkeypatch.setattr(module, "require_finite", lambda *_: None)
    monkeypatch.setattr(RemoteExperienceMaker, "make_experience_batch", lambda self, samples: samples)
    maker = experience_maker()
    maker.args.train = SimpleNamespace(async_enable=asynchronous)
    maker.args.rollout.top_p, maker.args.marge = 1.0, MargeConfig(replay_dir=replay_dir)
    maker.initial_model_group = maker.actor_model_group = SimpleNamespace(_actor_handlers=[0], duplicate_actors=1)
    for _ in range(2):
        maker.make_experience_batch([micro_batch([[-9.0] * 3])])
    assert len(said) == sentences


def test_the_age_is_from_the_newest_of_all_micro_batches():
    batches = [micro_batch([[-0.1, -0.2, -0.3]], versions=[v]) for v in (5, 7)]
    compare_policies(batches, top_p=1.0)
    assert [b.info[AGE].tolist() for b in batches] == [[2.0], [0.0]]
