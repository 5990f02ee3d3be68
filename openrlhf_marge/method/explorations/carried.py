"""Guidance that the last visit left (Algorithm 1, steps 1-4 and 6)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from openrlhf_marge.method.groups import Exploration

if TYPE_CHECKING:
    from openrlhf_marge.method.visit import Visit


async def carried(visit: Visit) -> Exploration:
    """Guidance of the last visit, or from candidates at the first; the s_0 group gives that of the next visit."""
    candidates = None
    guidances = await visit.known_guidance()
    if not guidances:
        candidates = await visit.candidates()
        guidances = visit.pick(candidates.completions, "candidates")
    if not guidances:
        return Exploration(problem_id=visit.problem.id, candidates=candidates, no_guidance=True)
    visit.remember(guidances)
    states = visit.states(guidances)
    completed = await visit.complete(states)
    kept = not visit.refresh(completed[0])
    return visit.exploration(states, completed, candidates=candidates, n_fixed=visit.n_first, guidance_kept=kept)
