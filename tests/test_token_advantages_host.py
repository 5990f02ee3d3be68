"""Advantages of tokens in the host's Experiences and in its loss."""

from dataclasses import replace

import pytest

pytest.importorskip("openrlhf", reason="the host is not installed")

import torch

from openrlhf_marge import StateGroup
from openrlhf_marge.host.rollout.experiences import to_experiences
from openrlhf_marge.host.rollout.records import RolloutRecord
from openrlhf_marge.host.rollout.samples_generator import GuidedSamplesGenerator
from openrlhf_marge.method.guidance import GuidancePool
from openrlhf_marge.runs.checkpoints import CheckpointStore

from factories import completion
from host_objects import batch_of, experience_maker, group_of
from host_objects import group_of as host_group

PROMPT, STATE = 3, (8, 9)  # tokens of the prompt; ids of the state


def own_group(*advantages, group_id=1) -> StateGroup:
    made = [
        completion(1.0, ids=range(20, 20 + len(of_one)), advantages=of_one, log_probs=(-0.1,) * len(of_one))
        for of_one in advantages
    ]
    return replace(group_of([1.0], group_id, STATE), completions=tuple(made))


def test_every_token_gets_its_own_and_those_without_are_not_trained_on():
    group = own_group((0.5, None, -0.5, None), (None, 0.25))
    (batch,) = experience_maker().compute_advantages_and_returns([batch_of([group], (1, 0))])
    # From the second token of the prompt on: 2 + 2 of the context, then the completion.
    assert batch.action_mask.tolist() == [[0, 0, 0, 0, 0, 1, 0, 0], [0, 0, 0, 0, 1, 0, 1, 0]]
    assert batch.advantages.tolist() == [[0, 0, 0, 0, 0, 0.25, 0, 0], [0, 0, 0, 0, 0.5, 0, -0.5, 0]]
    assert torch.equal(batch.advantages, batch.returns)


def test_groups_with_and_without_their_own_share_a_batch():
    groups = [own_group((0.5, -1.0)), group_of([1.0, 0.0], 2)]
    maker = experience_maker(advantage="mean")
    (batch,) = maker.compute_advantages_and_returns([batch_of(groups, (2, 0, 1))])
    assert (batch.advantages * batch.action_mask).tolist() == [
        [0, 0, -0.5, -0.5, -0.5, 0], [0, 0, 0, 0, 0.5, -1.0], [0, 0, 0.5, 0.5, 0.5, 0],
    ]  # fmt: skip


def test_equal_numbers_train_as_the_groups_own_do_the_kl_in_the_reward_included():
    by_group = group_of([1.0, 0.0, 0.0, 1.0], 3)
    own = replace(
        by_group,
        completions=tuple(replace(c, advantages=(c.reward - 0.5,) * 3) for c in by_group.completions),
    )
    made = []
    for group in (by_group, own):
        batch = batch_of([group], (2, 0, 1, 3))
        batch.kl = torch.arange(batch.action_mask.numel()).reshape(batch.action_mask.shape) / 10
        (made_batch,) = experience_maker(kl_coef=0.1, advantage="mean").compute_advantages_and_returns([batch])
        made.append(made_batch)
    assert torch.allclose(made[0].advantages * made[0].action_mask, made[1].advantages * made[1].action_mask)
    assert torch.equal(made[0].action_mask, made[1].action_mask)


def test_negative_ones_are_weighed_and_zeros_alone_are_no_signal():
    maker = experience_maker()
    maker.args.marge = replace(maker.args.marge, negative_weight=0.5)
    (batch,) = maker.compute_advantages_and_returns([batch_of([own_group((-1.0, 2.0))], (0,))])
    assert batch.advantages[0, -2:].tolist() == [-0.5, 2.0] and maker.has_signal
    maker.compute_advantages_and_returns([batch_of([own_group((0.0, None))], (0,))])
    assert not maker.has_signal


def test_groups_that_wait_come_out_of_a_checkpoint_as_they_were(tmp_path):
    record = RolloutRecord(
        pool=GuidancePool().state_dict([]),
        waiting=(own_group((1 / 3, None)), group_of([1.0], 2)),
        rollouts=1,
        episode=0,
    )
    CheckpointStore(tmp_path).write_state(1, record)
    assert CheckpointStore(tmp_path).read_state(1, RolloutRecord) == record


def test_only_completions_that_are_trained_on_become_experiences():
    own = replace(
        host_group([1.0], 1, (8, 9)),
        completions=tuple(
            completion(r, ids=(20, 21), advantages=a, log_probs=(-0.1, -0.2))
            for r, a in ((1.0, (None, None)), (0.0, (0.5, None)))
        ),
    )
    generator = GuidedSamplesGenerator.__new__(GuidedSamplesGenerator)
    made = to_experiences(generator, own, 2, False, {"max_len": 64})
    assert [e.rewards.tolist() for e in made] == [[0.0]]
