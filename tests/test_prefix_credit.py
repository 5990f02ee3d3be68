"""Guidance tokens between two states: trained once each, as VinePPO's objective has them."""

import pytest

pytest.importorskip("openrlhf", reason="the host is not installed")

from dataclasses import replace

import torch
from openrlhf.models.loss import PolicyLoss, aggregate_loss
from openrlhf.models.utils import compute_approx_kl

from openrlhf_marge import State, StateGroup

from factories import completion, problem
from host_objects import batch_of, experience_maker
from host_objects import group_of as host_group

PROMPT, GUIDANCE = (1, 2, 3), (8, 9, 7)  # s_0 is empty, s_1 ends after two tokens of the guidance, s_2 after three
# Rewards of the completions of s_0, s_1 and s_2: the values are 0.25, 0.5 and 1, the segments' gains 0.25 and 0.5.
REWARDS = ((1.0, 0.0, 0.0, 0.0), (1.0, 0.0, 1.0, 0.0), (1.0, 1.0, 1.0, 1.0))
COMPLETIONS = ((5, 6, 0), (6, 0), (4, 4, 5, 0), (0,))


def vine_groups() -> list[StateGroup]:
    states = [(0, 0, 0.0), (2, 2, 0.25), (3, 1, 0.5)]  # tokens of the prefix, of them in the segment, value gain
    return [
        StateGroup(
            id=index,
            problem=problem(prompt_ids=PROMPT),
            state=State(index=index, prefix_ids=GUIDANCE[:length], segment=segment),
            n_states=3,
            completions=tuple(completion(r, ids=ids) for r, ids in zip(REWARDS[index], COMPLETIONS, strict=True)),
            value_gain=gain,
        )
        for index, (length, segment, gain) in enumerate(states)
    ]


def vine_batch(credits_prefix: bool = True):
    return batch_of(vine_groups(), range(12), credits_prefix)


def weights(seed: int) -> torch.Tensor:
    """A policy of ten tokens, each depending on the one before: logits of shape (10, 10)."""
    return torch.randn(10, 10, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def log_probs(policy: torch.Tensor, sequences: torch.Tensor) -> torch.Tensor:
    logits = policy[sequences[:, :-1]].log_softmax(-1)
    return logits.gather(-1, sequences[:, 1:, None]).squeeze(-1)


def gradient_of_the_host(loss_agg_mode: str, kl_coef: float) -> torch.Tensor:
    """Of OpenRLHF's loss on the experiences that MARGE makes."""
    (batch,) = experience_maker(advantage="vine").compute_advantages_and_returns([vine_batch()])
    policy = weights(0).requires_grad_()
    new, mask = log_probs(policy, batch.sequences), batch.action_mask
    token_level = loss_agg_mode == "token-mean"
    loss = PolicyLoss(token_level_loss=token_level)(new, new.detach(), batch.advantages, action_mask=mask)[0]
    kl = compute_approx_kl(new, log_probs(weights(1), batch.sequences), kl_estimator="k3")
    (loss + kl_coef * aggregate_loss(kl, mask, token_level_loss=token_level)).backward()
    return policy.grad


def gradient_by_definition(loss_agg_mode: str, kl_coef: float) -> torch.Tensor:
    """From VinePPO's definition: the tokens of every sequence with their advantages, each segment in one of them."""
    policy, reference = weights(0).requires_grad_(), weights(1)
    sequences = []
    for index, (start, end, gain) in enumerate([(0, 0, 0.0), (0, 2, 0.25), (2, 3, 0.5)]):
        value = sum(REWARDS[index]) / 4
        for place, (reward, ids) in enumerate(zip(REWARDS[index], COMPLETIONS, strict=True)):
            terms = []
            first = start if place == 0 else end  # token of the guidance from which on this sequence is trained
            segment = [(token, gain) for token in GUIDANCE[first:end]]
            before = (PROMPT + GUIDANCE[:first])[-1]
            for token, advantage in segment + [(token, reward - value) for token in ids]:
                log_prob = policy[before].log_softmax(-1)[token]
                ratio = reference[before].log_softmax(-1)[token] - log_prob
                terms.append(-advantage * log_prob + kl_coef * (ratio.exp() - 1 - ratio))
                before = token
            sequences.append(torch.stack(terms))
    if loss_agg_mode == "token-mean":
        torch.cat(sequences).mean().backward()
    else:
        torch.stack([s.mean() for s in sequences]).mean().backward()
    return policy.grad


@pytest.mark.parametrize("loss_agg_mode", ["token-mean", "seq-mean-token-mean"])
@pytest.mark.parametrize("kl_coef", [0.0, 0.5])
def test_the_hosts_gradient_is_that_of_vineppos_definition(loss_agg_mode, kl_coef):
    ours, theirs = gradient_of_the_host(loss_agg_mode, kl_coef), gradient_by_definition(loss_agg_mode, kl_coef)
    assert ours.abs().max() > 0.01
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("clip_range", [(-10, 10), (-0.25, 0.25), None])
def test_guidance_tokens_get_the_gain_however_rewards_are_clipped(clip_range):
    """The first completions of s_0, s_1 and s_2 have 0.75, 0.5 and 0, which the host clips."""
    maker = experience_maker(advantage="vine")
    maker.args.reward.clip_range = clip_range
    (batch,) = maker.compute_advantages_and_returns([vine_batch()])
    most = clip_range[1] if clip_range else 10
    got = [batch.advantages[row][batch.action_mask[row].bool()].tolist() for row in (0, 4, 8)]
    assert got == [[min(0.75, most)] * 3, [0.25] * 2 + [min(0.5, most)] * 3, [0.5] + [0.0] * 3]


def test_a_segment_is_action_in_the_first_completion_of_its_group_only():
    masks = vine_batch().action_mask.bool()
    actions = [row[: row.nonzero().max() + 1].sum().item() for row in masks]
    assert actions == [3, 2, 4, 1, 3 + 2, 2, 4, 1, 3 + 1, 2, 4, 1]  # the completions, and two segments


def test_without_prefix_credit_no_segment_is_action():
    masks = vine_batch(credits_prefix=False).action_mask
    assert masks.sum(-1).tolist() == [3, 2, 4, 1] * 3


def test_a_negative_gain_of_the_guidance_is_weighed_too():
    s1 = replace(host_group([1.0, 0.0], 1, (8, 9), segment=2), value_gain=-0.5)
    maker = experience_maker(advantage="vine")
    maker.args.marge = replace(maker.args.marge, negative_weight=0.5)
    (batch,) = maker.compute_advantages_and_returns([batch_of([s1], (0, 1), True)])
    assert (batch.advantages * batch.action_mask)[0].tolist() == [0, 0, -0.25, -0.25, 0.5, 0.5, 0.5]
