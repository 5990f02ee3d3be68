"""What a group says of the outcomes of its state must not depend on how many completions it has."""

import math

import pytest

from openrlhf_marge.method.metrics import outcome_diversity, pairs_per_token

from factories import group

SIZES = [2, 4, 8, 40]


def expected(p, n, measure):
    """Of a measure of (correct completions, completions), over all draws of n."""
    return sum(math.comb(n, k) * p**k * (1 - p) ** (n - k) * measure(k, n) for k in range(n + 1))


def entropy(k, n):
    return -sum(q * math.log2(q) for q in (k / n, 1 - k / n) if q)


@pytest.mark.parametrize(("p", "value"), [(0.5, 0.5), (0.1, 0.18), (0.0, 0.0), (1.0, 0.0)])
def test_it_expects_the_share_of_mixed_pairs_in_groups_of_any_size(p, value):
    assert [expected(p, n, outcome_diversity) for n in SIZES] == pytest.approx([value] * len(SIZES))


def test_entropy_does_not():
    assert expected(0.1, 8, entropy) / expected(0.1, 40, entropy) == pytest.approx(0.812, abs=1e-3)
    assert expected(0.5, 8, entropy) / expected(0.5, 40, entropy) == pytest.approx(0.919, abs=1e-3)


def test_it_is_the_share_of_pairs_that_differ():
    assert outcome_diversity(2, 4) == 4 / 6  # 4 of 6 pairs
    assert outcome_diversity(1, 2) == 1.0
    assert outcome_diversity(1, 1) == outcome_diversity(0, 1) == 0.0


def test_five_groups_of_two_count_as_much_as_the_pairs_in_them():
    groups = [group(i, (1.0, 0.0)) for i in range(3)] + [group(i, (1.0, 1.0)) for i in range(3, 5)]
    # 6 of 10 completions are in mixed groups; 20 tokens.
    assert pairs_per_token(groups)["marge/outcome_diversity_per_1k_tokens"] == pytest.approx(1000 * 6 / 20)
