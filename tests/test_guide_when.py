"""Which gate of ``--marge.guide_when`` gains no less outcome diversity per token than vanilla, at known pass rates.

Responses of n equal steps and states after each of them, so a completion of s_j costs (n - j) / n of a response. Two
ways in which a problem may go wrong: `fatal`, each step may hold an error after which nothing can be correct, and
`linear`, the value moves by equal amounts towards 1 (0) along a correct (incorrect) guidance, as Prop. C.2 supposes.
"""

import math

import numpy as np
import pytest

from guided_gain import Cost, band_of, gain

N_STEPS, N_ESTIMATE = 5, 8
COST = sum((N_STEPS - j) / N_STEPS for j in range(N_STEPS))  # responses that one completion of every state takes
PASS_RATES = [0.02 * i for i in range(1, 50)]


def diversity(p: float) -> float:
    """The chance that two completions of a state with value p differ."""
    return 2 * p * (1 - p)


def diversity_of_guided(pass_rate: float, is_correct: bool, model: str) -> float:
    """Expected sum of 2 V(s_j) (1 - V(s_j)) over the states of a random guidance of this kind."""
    if model == "linear":
        end = float(is_correct)
        return sum(diversity(pass_rate + (end - pass_rate) * j / N_STEPS) for j in range(N_STEPS))
    step = pass_rate ** (1 / N_STEPS)  # probability of a step without error
    before = [diversity(step ** (N_STEPS - j)) for j in range(N_STEPS)]
    if is_correct:
        return sum(before)
    # P(no error in the first j steps | some error) weighs the states that are not dead yet.
    alive = [(step**j - pass_rate) / (1 - pass_rate) for j in range(N_STEPS)]
    return sum(a * h for a, h in zip(alive, before, strict=True))


def relative_to_vanilla(pass_rate: float, gate: str, model: str) -> float:
    """Diversity per token over vanilla's, the kind of guidance decided by the pass rate among 8 completions."""
    gained = cost = 0.0
    for k in range(N_ESTIMATE + 1):
        weight = math.comb(N_ESTIMATE, k) * pass_rate**k * (1 - pass_rate) ** (N_ESTIMATE - k)
        easy = k / N_ESTIMATE > 0.5
        if k in (0, N_ESTIMATE):
            continue  # no response of the wanted kind
        if easy and gate == "hard":
            gained, cost = gained + weight * diversity(pass_rate), cost + weight
        else:
            gained, cost = gained + weight * diversity_of_guided(pass_rate, not easy, model), cost + weight * COST
    return gained / cost / diversity(pass_rate)


@pytest.mark.parametrize("model", ["fatal", "linear"])
def test_the_gate_hard_is_never_below_vanilla_on_any_pass_rate(model):
    assert min(relative_to_vanilla(q, "hard", model) for q in PASS_RATES) >= 1


def test_always_is_below_vanilla_on_easy_problems_where_errors_are_fatal():
    below = [q for q in PASS_RATES if relative_to_vanilla(q, "always", "fatal") < 1]
    assert below and min(below) > 0.5
    assert all(relative_to_vanilla(q, "always", "linear") > 1 for q in PASS_RATES)


def test_hard_problems_gain_most():
    assert relative_to_vanilla(0.1, "hard", "fatal") > 1.5


N_PROBLEMS, N_VISITS, N_RUNS, ENDS = 512, 4, 40, (0, 5)


def null_gains(rng, *, cross_fitted):
    """Of both end bands where guidance does nothing: every state of a problem has its pass rate as its value."""
    rates = rng.beta(1, 1.3, N_PROBLEMS)[:, None, None]
    k = rng.binomial(N_ESTIMATE, np.broadcast_to(rates, (N_PROBLEMS, N_VISITS, N_STEPS)))
    found = k * (N_ESTIMATE - k)
    ones = np.ones((N_PROBLEMS, N_VISITS))
    guided, vanilla = Cost(found.sum(axis=2), N_STEPS * ones), Cost(found[:, :, 0], ones)
    own = k[:, :, 0] / N_ESTIMATE
    # Without cross-fitting all visits of a problem are in the band of their mean, as "the others" of one more visit.
    bands = band_of(own) if cross_fitted else band_of(np.c_[own, own.mean(axis=1)])[:, -1:] + np.zeros_like(own)
    return [gain(guided, vanilla, bands == band, rng) for band in ENDS]


@pytest.mark.parametrize("end", [0, 1])
def test_where_guidance_does_nothing_the_measured_gain_is_one_and_its_interval_says_so(end):
    rng = np.random.default_rng(0)
    found = [null_gains(rng, cross_fitted=True)[end] for _ in range(N_RUNS)]
    ratios = np.array([g.ratio for g in found])
    assert abs(ratios.mean() - 1) < 3 * ratios.std() / N_RUNS**0.5
    assert sum(g.low <= 1 <= g.high for g in found) >= 0.75 * N_RUNS  # 90 % but for three standard errors


def test_bands_of_the_visits_own_samples_show_a_gain_where_there_is_none():
    rng = np.random.default_rng(0)
    found = np.array([[g.ratio for g in null_gains(rng, cross_fitted=False)] for _ in range(5)])
    assert (found.mean(axis=0) > 1.15).all()


def test_a_visit_is_banded_by_the_others_of_its_problem():
    nan = float("nan")
    rates = np.array([[0.0, 0.5, 1.0], [0.15, 0.15, nan], [0.9, nan, nan]])
    # Means of the others: .75, .5, which ends its band, and .25; .15, which does, too, twice; none.
    assert band_of(rates).tolist() == [[4, 2, 1], [0, 0, -1], [-1, -1, -1]]
