"""Adaptive numbers of completions (Prop. C.1, App. G), and what stopping early does to the values."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openrlhf_marge.method.advantages import group_advantages
from openrlhf_marge.method.allocation import allocate

CHAIN = [None, 0, 1, 2]


def more(rates, parents=CHAIN, n=8):
    half = n // 2
    correct = [[i < round(rate * half) for i in range(half)] for rate in rates]
    return allocate(n, half, correct, parents[: len(rates)])


@pytest.mark.parametrize(
    ("rates", "chunks"),
    [
        ((0.5, 0.5, 0.5, 0.5), (1, 1, 1, 1)),
        ((0.5, 0, 0, 0), (4, 0, 0, 0)),
        ((0, 0.25, 0.5, 1), (0, 2, 2, 0)),  # between all wrong and all correct is where the step is
        ((1, 0.25, 1, 0.5), (0, 0, 0, 4)),  # between two of the same kind: no more
        ((0, 0.25, 0.75, 0.5), (0, 1, 1, 2)),  # the rest goes to the most uncertain
        ((1, 1, 0, 0), (0, 0, 0, 0)),
    ],
)
def test_who_gets_the_saved_completions(rates, chunks):
    assert more(rates) == [4 * c for c in chunks]


def test_between_is_along_each_guidance_of_a_trie():
    # s_0 - 1 - 2 and s_0 - 3: only 1 lies between two that are all wrong.
    assert more((0, 0.5, 0, 0.5), parents=[None, 0, 1, 0]) == [0, 0, 0, 16]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8), st.sampled_from([2, 4, 8, 16]))
def test_the_budget_is_kept_or_saved(rates, n):
    parents = [None, *range(len(rates) - 1)]
    assert sum(more(rates, parents, n)) in (0, n // 2 * len(rates))


def push(p, m=4):
    """What the docstring says a value is moved by, but for the factor E[e / (m + e)]."""
    return p * (1 - p) * (p ** (m - 1) - (1 - p) ** (m - 1))


def measured(rates, place, n=8, runs=20_000):
    """Bias of the value of one of a guidance's states, and its mean e / (m + e) where it goes on."""
    m, rng = n // 2, random.Random(0)
    excess, factors = 0.0, []
    for _ in range(runs):
        first = [[rng.random() < p for _ in range(m)] for p in rates]
        e = allocate(n, m, first, [None, *range(len(rates) - 1)])[place]
        outcomes = first[place] + [rng.random() < rates[place] for _ in range(e)]
        excess += sum(outcomes) / len(outcomes) - rates[place]
        if 0 < sum(first[place]) < m:
            factors.append(e / (m + e))
    return excess / runs, sum(factors) / len(factors)


@pytest.mark.parametrize(
    ("rates", "place"),
    [((0.8, 0, 0, 0, 0), 0), ((0.5, 0.6, 0.7, 0.8, 0.9), 3), ((0.5, 0.4, 0.3, 0.2, 0.1), 4), ((0.3,) * 5, 0)],
)
def test_the_bias_of_the_early_stop_is_what_the_docstring_says(rates, place):
    bias, factor = measured(rates, place)
    assert bias == pytest.approx(factor * push(rates[place]), abs=0.006)  # three standard errors, and 0.002


def test_the_bias_is_larger_than_for_a_fixed_number_of_further_completions():
    bias, factor = measured((0.8, 0, 0, 0, 0), 0)
    assert factor == pytest.approx(20 / 24) and bias > 0.06 > 0.5 * push(0.8) == pytest.approx(0.0403, abs=1e-4)


def test_the_bounds_of_the_docstring():
    largest = max(push(i / 1000) for i in range(1001))
    assert [round(factor * largest, 3) for factor in (4 / 8, 20 / 24, 1)] == [0.040, 0.067, 0.081]


@pytest.mark.parametrize("p", [0.05, 0.3, 0.5, 0.8])
def test_the_gradient_of_a_mixed_group_points_up_as_without_the_stop(p):
    """For a policy with one logit, d log prob = outcome - p: the expected gradient of r is p (1 - p) per completion.

    With r - mean of the others as the advantage and the stop, each completion of a group that goes on gives that too,
    up to the share of groups that stop: measured here as the ratio of the sums, which must not change sign or explode.
    """
    m, e, rng, runs = 4, 4, random.Random(1), 40_000
    gradient = completions = 0.0
    for _ in range(runs):
        first = [rng.random() < p for _ in range(m)]
        rest = [rng.random() < p for _ in range(e)] if 0 < sum(first) < m else []
        rewards = [float(r) for r in first + rest]
        advantages = group_advantages(rewards, [0] * len(rewards), "leave_one_out")
        gradient += sum(a * (r - p) for a, r in zip(advantages, rewards, strict=True))
        completions += len(rewards)
    assert 0.85 < gradient / completions / (p * (1 - p)) < 1.5
