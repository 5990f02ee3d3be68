import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openrlhf_marge.method.advantages import group_advantages, group_stds

GROUPS = st.lists(st.lists(st.floats(0, 1, allow_subnormal=False), min_size=1, max_size=6), min_size=1, max_size=5)


def test_eq_4_on_two_groups():
    assert group_advantages([1, 0, 1, 0, 0, 1], [7, 7, 7, 7, 3, 3]) == pytest.approx(
        [0.8660254, -0.8660254, 0.8660254, -0.8660254, -0.7071068, 0.7071068]
    )


def test_mean_only_leave_one_out_and_vine():
    rewards, ids = [1, 0, 0, 0, 1, 0], [7, 7, 7, 7, 3, 3]
    mean = [0.75, -0.25, -0.25, -0.25, 0.5, -0.5]
    assert group_advantages(rewards, ids, "mean") == group_advantages(rewards, ids, "vine") == mean
    # The others of the first are all 0; of the second, one of three is 1.
    expected = [1, -1 / 3, -1 / 3, -1 / 3, 1, -1]
    assert group_advantages(rewards, ids, "leave_one_out") == pytest.approx(expected)


def test_a_group_without_signal_gets_exactly_zero():
    assert group_advantages([0.1] * 8 + [1.0], [1] * 8 + [2]) == [0.0] * 9


def test_std_of_a_group():
    assert group_stds([1, 0, 1, 0, 1], [1, 1, 1, 1, 2]) == pytest.approx([0.5773503] * 4 + [0.0])


def test_it_is_openrlhfs_group_norm_on_groups_of_one_size():
    torch = pytest.importorskip("torch")
    rewards = torch.tensor([[1.0, 0, 0, 1], [0, 0, 1, 0]])
    host = (rewards - rewards.mean(-1, keepdim=True)) / (rewards.std(-1, keepdim=True) + 1e-9)
    assert group_advantages(rewards.flatten().tolist(), [0] * 4 + [1] * 4) == pytest.approx(host.flatten().tolist())


def test_an_unknown_kind_is_refused_and_never_another_one():
    with pytest.raises(ValueError, match=r"--marge.advantage is 'group_nrom'; it must be one of group_norm, mean, "):
        group_advantages([0, 1], [0, 0], "group_nrom")


@pytest.mark.parametrize("returned", ["[0.5]", "[float('nan'), 0.0]"])
def test_an_installed_advantage_gives_a_finite_number_per_reward(install, returned):
    install(
        "odd_advantage", f"def odd(rewards): return {returned}", "[openrlhf_marge.advantages]\nodd=odd_advantage:odd"
    )
    with pytest.raises(ValueError, match=r"--marge.advantage odd gave .* for the rewards \[1, 0\]; give a finite"):
        group_advantages([1, 0], [0, 0], "odd")
    assert group_advantages([1, 1], [0, 0], "odd") == [0.0, 0.0]  # no signal, so it is not asked


def test_lengths_must_match():
    with pytest.raises(ValueError, match="got 1 group ids for 2 rewards"):
        group_advantages([0, 1], [0])


@given(GROUPS, st.randoms(use_true_random=False))
def test_the_order_of_completions_does_not_matter(groups, rng: random.Random):
    rows = [(r, i) for i, rewards in enumerate(groups) for r in rewards]
    expected = dict(zip(range(len(rows)), group_advantages(*zip(*rows, strict=True)), strict=True))
    order = list(range(len(rows)))
    rng.shuffle(order)
    shuffled = group_advantages(*zip(*[rows[i] for i in order], strict=True))
    assert shuffled == pytest.approx([expected[i] for i in order])


@given(GROUPS)
def test_each_group_has_mean_zero_and_no_number_explodes(groups):
    for rewards in groups:
        advantages = group_advantages(rewards, [0] * len(rewards))
        if max(rewards) - min(rewards) > 1e-6:  # of rewards an ulp apart the float mean is one of them
            assert sum(advantages) == pytest.approx(0, abs=1e-6)
        assert all(abs(a) <= len(rewards) for a in advantages)


def test_stds_are_in_the_order_of_the_completions():
    assert group_stds([1, 5, 0, 5], [2, 1, 2, 1]) == pytest.approx([0.70710678, 0.0, 0.70710678, 0.0])


def test_equal_rewards_whose_mean_is_off_by_an_ulp_have_no_signal():
    assert sum([0.1] * 3) / 3 != 0.1
    assert group_advantages([0.1] * 6, [0] * 6) == [0.0] * 6 and group_stds([0.1] * 6, [0] * 6) == [0.0] * 6
