"""Where a state lies in its guidance, in fifths: the bins of what is logged by position."""

from __future__ import annotations

from openrlhf_marge.types import State

N_BINS = 5


def percent_before(state: State) -> int:
    """0, 20, 40, 60 or 80: at least this share of the guidance lies before the state; 0 without guidance."""
    return int(state.position * N_BINS) * 100 // N_BINS
