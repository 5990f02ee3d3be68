"""How often compare's intervals hold the true difference, by simulation: pass@1 of methods on problems and seeds."""

import numpy as np
import pytest
from scipy.special import stdtrit

from openrlhf_marge.compare.holm import holm
from openrlhf_marge.compare.statistics import Scores, interval, interval_of_means

N_PROBLEMS, N_SAMPLES, ROUNDS = 200, 8, 400
OF_SEED, OF_PROBLEM = 0.08, 0.2  # standard deviations of what a method gains


def differences(rng, n_seeds, *, seed_sd, problem_sd, shared, bases=None, base_sd=0.0):
    """Of two methods that are equal on average: chances of success of 0.5 and of 0.5 + what seed and problem bring.

    And what the base model brings that a seed begins with: the one of ``bases``, by default one of its own.
    """
    of_base = rng.normal(0, base_sd, n_seeds)[range(n_seeds) if bases is None else bases]
    effects = [rng.normal(0, problem_sd, N_PROBLEMS) for _ in range(1 if shared else n_seeds)] * n_seeds
    found = []
    for seed, effect in enumerate(effects[:n_seeds]):
        chances = np.clip(0.5 + rng.normal(0, seed_sd) + of_base[seed] + effect, 0, 1)
        values = (rng.binomial(N_SAMPLES, chances) - rng.binomial(N_SAMPLES, 0.5, N_PROBLEMS)) / N_SAMPLES
        found.append(Scores(tuple((i, "" if shared else str(seed)) for i in range(N_PROBLEMS)), values))
    return found


@pytest.mark.parametrize("n_seeds", [1, 2, 3, 5])
@pytest.mark.parametrize(
    ("seed_sd", "problem_sd", "shared"),
    [(OF_SEED, 0, True), (OF_SEED, OF_PROBLEM, True), (0, OF_PROBLEM, True), (OF_SEED, OF_PROBLEM, False)],
)
def test_intervals_cover_what_they_say(n_seeds, seed_sd, problem_sd, shared):
    rng = np.random.default_rng(n_seeds)
    if n_seeds == 1:
        seed_sd = 0  # of which one seed says nothing
    draws = [differences(rng, n_seeds, seed_sd=seed_sd, problem_sd=problem_sd, shared=shared) for _ in range(ROUNDS)]
    covered = np.mean([not interval(of_draw).is_shown for of_draw in draws])
    # 95 % but for 2.75 standard errors; more where seeds do not vary, which a few of them cannot tell.
    assert 0.92 <= covered <= (0.995 if seed_sd else 1)


@pytest.mark.parametrize("n_seeds", [2, 3, 5])
def test_with_a_base_model_and_held_out_problems_of_its_own_a_seed_tells_what_base_models_bring(n_seeds):
    rng, given = np.random.default_rng(n_seeds), dict(seed_sd=OF_SEED, problem_sd=OF_PROBLEM, base_sd=2 * OF_SEED)
    draws = [differences(rng, n_seeds, shared=False, **given) for _ in range(ROUNDS)]
    assert 0.92 <= np.mean([not interval(of_draw).is_shown for of_draw in draws]) <= 0.98
    alone = [interval_of_means([d.mean for d in of_draw]) for of_draw in draws]  # as of rows without problems
    assert 0.92 <= np.mean([not found.is_shown for found in alone]) <= 0.98


def test_five_seeds_over_two_base_models_are_not_five_draws():
    """0.95, 0.85, 0.74 where base models bring 0, 1, 2 times what seeds do: the figures of compare/README.md."""
    rng, bases, rounds = np.random.default_rng(0), [0, 0, 0, 1, 1], 4000
    covered = {}
    for ratio in (0, 1, 2):
        means = rng.normal(0, 1, (rounds, 5)) + rng.normal(0, ratio, (rounds, 2))[:, bases]
        covered[ratio] = np.mean([not interval_of_means(of_round).is_shown for of_round in means])
    assert covered == {0: pytest.approx(0.95, abs=0.012), 1: pytest.approx(0.847, abs=0.02),
                       2: pytest.approx(0.739, abs=0.02)}  # fmt: skip


def test_an_interval_of_means_is_that_of_seeds_without_problems():
    found = interval_of_means([0.9, 1.0, 1.1])
    assert (found.value, found.margin) == (pytest.approx(1.0), pytest.approx(4.302653 * 0.1 / 3**0.5))
    assert interval_of_means([0.9, 1.0, 1.1], 0.9).margin == pytest.approx(2.919986 * 0.1 / 3**0.5)
    assert interval_of_means([0.25]).bounds is None
    with pytest.raises(ValueError, match="there is no difference to make an interval of; give at least one seed"):
        interval_of_means([])


def test_seeds_alone_do_not_tell_what_the_problems_that_they_share_bring():
    rng, covered = np.random.default_rng(0), []
    for _ in range(ROUNDS):
        means = [d.mean for d in differences(rng, 5, seed_sd=0, problem_sd=OF_PROBLEM, shared=True)]
        covered.append(abs(np.mean(means)) <= stdtrit(4, 0.975) * np.std(means, ddof=1) / 5**0.5)
    assert np.mean(covered) < 0.9


def test_of_tables_with_four_equal_methods_holm_shows_a_difference_in_at_most_one_of_twenty():
    rng, alone, together = np.random.default_rng(0), [], []
    for _ in range(ROUNDS):
        baseline, *methods = (
            [rng.binomial(N_SAMPLES, np.clip(0.5 + rng.normal(0, OF_SEED), 0, 1), N_PROBLEMS) for _ in range(3)]
            for _ in range(5)
        )
        problems = tuple((i, "") for i in range(N_PROBLEMS))
        pairs = {
            str(i): [Scores(problems, (a - b) / N_SAMPLES) for a, b in zip(method, baseline, strict=True)]
            for i, method in enumerate(methods)
        }
        alone.append(any(interval(of_method).is_shown for of_method in pairs.values()))
        together.append(bool(holm(pairs)))
    assert np.mean(together) <= 0.07 < np.mean(alone)
