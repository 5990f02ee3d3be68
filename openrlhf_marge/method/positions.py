"""Where a state lies in its guidance, in fifths: the bins of what is logged by position."""

from __future__ import annotations

from openrlhf_marge.types import State

N_BINS = 5


def percent_before(state: State) -> int:
    """0, 20, 40, 60 or 80: at least this share of the guidance lies before the state; 0 of s_0.

    Rounded down to a token, as the j-th of five even cuts is, so that this one counts as after j fifths.
    """
    if state.guidance is None or not state.position:
        return int(state.position * N_BINS) * 100 // N_BINS
    rest = round((len(state.guidance.token_ids) - len(state.prefix_ids)) / (1 - state.position))  # tokens after s_0
    before = round(state.position * rest)
    return max(j for j in range(N_BINS) if rest * j // N_BINS <= before) * 100 // N_BINS
