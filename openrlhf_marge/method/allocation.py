"""Which states get more completions after their first ones (``--marge.state_budget adaptive``).

Values fall or rise along a guidance on average (Proposition C.1, Appendix G): a state whose first m completions are
all correct or all wrong, or that lies between two such of the same kind, will hardly give pairs, so what it would have
got goes to states with mixed outcomes.

What the early stop does to the values: a state with success probability p that stops after m equal outcomes and
otherwise gets e more has E[V] = p + E[e/(m+e) | it goes on] p (1-p) (p^(m-1) - (1-p)^(m-1)), an estimate pushed away
from 1/2. e is no constant: it grows with the states that stop. For m = 4 the push is at most 0.040 where e is always
4, 0.067 where one of five states gets what all save (e = 20), and 0.081 for any e; that e also depends a little on the
state's own first outcomes, as a rest goes to the most uncertain, moves it by some 0.002 (tests/test_allocation.py).
Completions are never chosen by their own outcome; a stopped group would have given the advantages 0 to what it has.
"""

from __future__ import annotations

from collections.abc import Sequence


def allocate(n: int, n_first: int, correct: Sequence[Sequence[bool]], parents: Sequence[int | None]) -> list[int]:
    """How many more completions each state gets.

    Args:
        n: completions per state that the budget counts on; ``n_first`` of them are drawn (0 < n_first < n).
        correct: verdicts of each state's completions so far, usually ``n_first`` of them.
        parents: place of the state before it on its guidance.

    Returns chunks of ``n - n_first`` per state, in all one for each state that has no more than ``n_first``; none when
    no state is mixed.
    """
    rates = [sum(verdicts) / len(verdicts) for verdicts in correct]
    mixed = [i for i, rate in enumerate(rates) if 0 < rate < 1 and not _enclosed(i, rates, parents)]
    mixed.sort(key=lambda i: abs(rates[i] - 0.5))  # a rest goes to the most uncertain; ties keep their order
    more = [0] * len(rates)
    chunks = sum(len(verdicts) <= n_first for verdicts in correct)
    for chunk in range(chunks if mixed else 0):
        more[mixed[chunk % len(mixed)]] += n - n_first
    return more


def _enclosed(place: int, rates: Sequence[float], parents: Sequence[int | None]) -> bool:
    """Whether states before and after it on one guidance are all correct, or all wrong."""
    before = {rates[i] for i in _ancestors(place, parents)}
    after = {rates[i] for i in range(len(rates)) if place in _ancestors(i, parents)}
    return any(settled in before and settled in after for settled in (0.0, 1.0))


def _ancestors(place: int, parents: Sequence[int | None]) -> list[int]:
    found = []
    while (parent := parents[place]) is not None:
        found.append(parent)
        place = parent
    return found
