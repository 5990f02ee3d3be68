import pytest

from openrlhf_marge import StateGroup

from factories import completion, group


def test_value_is_the_mean_reward_eq_2():
    assert group(rewards=(1.0, 0.0, 0.0, 1.0)).value == 0.5


@pytest.mark.parametrize(("rewards", "signal"), [((1.0, 1.0), False), ((0.0,), False), ((0.0, 1.0), True)])
def test_signal_needs_two_different_rewards(rewards, signal):
    assert group(rewards=rewards).has_signal is signal


@pytest.mark.parametrize("reward", [float("nan"), -0.1, 1.5, float("inf")])
def test_rewards_outside_0_1_are_refused(reward):
    with pytest.raises(ValueError, match=r"rewards must lie in \[0, 1\]"):
        completion(reward)


def test_log_probs_must_match_the_tokens():
    with pytest.raises(ValueError, match="got 1 log-probs for 2 tokens"):
        completion(ids=(5, 6), log_probs=(-0.1,))


def test_an_empty_group_is_refused():
    full = group()
    with pytest.raises(ValueError, match="no completions"):
        StateGroup(id=0, problem=full.problem, state=full.state, n_states=1, completions=())
