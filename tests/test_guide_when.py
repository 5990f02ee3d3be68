"""Which gate of ``--marge.guide_when`` gains no less entropy per token than vanilla exploration, at known pass rates.

Responses of n equal steps and states after each of them, so a completion of s_j costs (n - j) / n of a response. Two
ways in which a problem may go wrong: `fatal`, each step may hold an error after which nothing can be correct, and
`linear`, the value moves by equal amounts towards 1 (0) along a correct (incorrect) guidance, as Prop. C.2 supposes.
"""

import math

import pytest

from openrlhf_marge.metrics import binary_entropy

N_STEPS, N_ESTIMATE = 5, 8
COST = sum((N_STEPS - j) / N_STEPS for j in range(N_STEPS))  # responses that one completion of every state takes
PASS_RATES = [0.02 * i for i in range(1, 50)]


def entropy_of_guided(pass_rate: float, is_correct: bool, model: str) -> float:
    """Expected sum of H(V(s_j)) over the states of a random guidance of this kind."""
    if model == "linear":
        end = float(is_correct)
        return sum(binary_entropy(pass_rate + (end - pass_rate) * j / N_STEPS) for j in range(N_STEPS))
    step = pass_rate ** (1 / N_STEPS)  # probability of a step without error
    before = [binary_entropy(step ** (N_STEPS - j)) for j in range(N_STEPS)]
    if is_correct:
        return sum(before)
    # P(no error in the first j steps | some error) weighs the states that are not dead yet.
    alive = [(step**j - pass_rate) / (1 - pass_rate) for j in range(N_STEPS)]
    return sum(a * h for a, h in zip(alive, before, strict=True))


def relative_to_vanilla(pass_rate: float, gate: str, model: str) -> float:
    """Entropy per token over vanilla's, the kind of guidance decided by the pass rate among 8 completions."""
    entropy = cost = 0.0
    for k in range(N_ESTIMATE + 1):
        weight = math.comb(N_ESTIMATE, k) * pass_rate**k * (1 - pass_rate) ** (N_ESTIMATE - k)
        easy = k / N_ESTIMATE > 0.5
        if k in (0, N_ESTIMATE):
            continue  # no response of the wanted kind
        if easy and gate == "hard":
            entropy, cost = entropy + weight * binary_entropy(pass_rate), cost + weight
        else:
            entropy, cost = entropy + weight * entropy_of_guided(pass_rate, not easy, model), cost + weight * COST
    return entropy / cost / binary_entropy(pass_rate)


@pytest.mark.parametrize("model", ["fatal", "linear"])
def test_the_gate_hard_is_never_below_vanilla_on_any_pass_rate(model):
    assert min(relative_to_vanilla(q, "hard", model) for q in PASS_RATES) >= 1


def test_always_is_below_vanilla_on_easy_problems_where_errors_are_fatal():
    below = [q for q in PASS_RATES if relative_to_vanilla(q, "always", "fatal") < 1]
    assert below and min(below) > 0.5
    assert all(relative_to_vanilla(q, "always", "linear") > 1 for q in PASS_RATES)


def test_hard_problems_gain_most():
    assert relative_to_vanilla(0.1, "hard", "fatal") > 1.5
