"""Guidance from this very visit (ours)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from openrlhf_marge.method.groups import Exploration

if TYPE_CHECKING:
    from openrlhf_marge.method.visit import Visit


async def fresh(visit: Visit) -> Exploration:
    """The s_0 group first; it gives the guidance for the other states, the last one where it gives none."""
    first = await visit.sample(visit.s0_ids, visit.n_completions, "s_0")
    kept = not visit.refresh(first)
    guidances = await visit.known_guidance()
    if not guidances:
        return visit.exploration([visit.s0], [first], no_guidance=True)
    states = visit.states(guidances)
    completed = await visit.complete(states, first)
    return visit.exploration(states, completed, s0_chose=True, n_fixed=visit.n_completions, guidance_kept=kept)
