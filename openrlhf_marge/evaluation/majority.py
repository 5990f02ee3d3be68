"""maj@k: how often the answer that most of k responses give is correct (self-consistency, Wang et al., 2023).

Not of one draw of k, but exactly in expectation over all subsets of k of the n responses, ties broken at random: the
number needs no seed and does not depend on the order of the responses.

Votes are counted per answer as it means the same: to math problems all correct responses vote for one answer, since
each equals the gold answer, however it is spelled (of other rewards they may differ, and are told apart); wrong ones
vote for the same answer when ``vote_of`` gives the same text. Wrong answers that are equal by algebra alone ("x+1",
"1+x") are told apart, which costs them votes. A response without an answer does not vote, and k responses of which
none votes are wrong.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from fractions import Fraction
from math import comb

import numpy as np

from openrlhf_marge.grading.comparison import chosen
from openrlhf_marge.grading.latex import clean
from openrlhf_marge.grading.numbers import read_number
from openrlhf_marge.grading.spelling import spelling

MAX_CHARS = 1000  # of an answer worth cleaning; a longer one agrees with its own copies only


def vote_of(answer: str) -> str:
    r"""An extracted answer in one spelling: a number by its exact value (0.5, 1/2, \frac12), with its percent sign."""
    if len(answer) > MAX_CHARS:
        return answer
    text = clean(answer)
    number = read_number(text)
    return chosen(text) or spelling(text) if number is None else f"{number.value}{'%' * number.percent}"


def maj_at_k(n: int, n_correct: int, wrong_votes: Collection[int], ks: Collection[int]) -> dict[int, float]:
    """maj@k for every k of ``ks``, of n responses: ``n_correct`` for the gold answer, ``wrong_votes`` per wrong one.

    The correct answer wins k drawn responses with v votes when no other has more, and then against t others with v
    votes in 1 of t + 1 cases. The draws with that v and t are counted exactly, in whole numbers. ValueError when the
    votes are more than n, or a k is not from 1 to n.
    """
    silent = n - n_correct - sum(wrong_votes)
    if silent < 0 or not all(1 <= k <= n for k in ks):
        raise ValueError(f"maj@{sorted(ks)} of {n_correct} correct and {wrong_votes} wrong of {n} is not defined")
    wins = dict.fromkeys(ks, Fraction(0))
    for votes in range(1, min(n_correct, max(ks, default=0)) + 1):
        for tied, draws in enumerate(_draws_of_others(wrong_votes, silent, votes, max(ks))):
            for k in (k for k in ks if k >= votes):
                wins[k] += Fraction(comb(n_correct, votes) * draws[k - votes], tied + 1)
    return {k: float(wins[k] / comb(n, k)) for k in ks}


def _draws_of_others(wrong_votes: Collection[int], silent: int, votes: int, most: int) -> Sequence[np.ndarray]:
    """[t][d]: ways to draw d responses that are not correct, t wrong answers having ``votes`` of them, none more."""
    free = silent + sum(m for m in wrong_votes if m < votes)  # neither above nor tied, however many are drawn
    by_tied = [_counts(comb(free, d) for d in range(most + 1))]
    for m in (m for m in wrong_votes if m >= votes):
        below = _counts(comb(m, d) for d in range(votes))
        fewer = [np.convolve(draws, below)[: most + 1] for draws in by_tied]
        level = [comb(m, votes) * _shifted(draws, votes) for draws in by_tied]
        none = _counts([0] * (most + 1))
        by_tied = [a + b for a, b in zip([*fewer, none], [none, *level], strict=True)]
        if not by_tied[-1].any():  # more ties than k responses have votes for
            by_tied.pop()
    return by_tied


def _counts(values: Iterable[int]) -> np.ndarray:
    """Python's whole numbers, which do not overflow."""
    return np.array(list(values), dtype=object)


def _shifted(draws: np.ndarray, by: int) -> np.ndarray:
    return np.concatenate([_counts([0] * by), draws])[: len(draws)]
