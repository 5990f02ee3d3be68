"""From s_0, and from the state of a guidance where success is predicted to be about even (ours)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from openrlhf_marge.method.explorations.traits import Traits
from openrlhf_marge.method.groups import Exploration
from openrlhf_marge.method.guidance_rules import GUIDANCE_RULES
from openrlhf_marge.method.success import Outcomes, predicted, remembered
from openrlhf_marge.types import Completion, Guidance, State, pass_rate

if TYPE_CHECKING:
    import numpy as np

    from openrlhf_marge.method.config import MargeConfig
    from openrlhf_marge.method.visit import Visit

# Groups of full size beside s_0, for each state asked for: 0.00 to 0.10 in the runs of examples/map.
FRONTIER_STATES = 0.05


@Traits(states=lambda config: 1 + FRONTIER_STATES * config.frontier_states)
async def frontier(visit: Visit) -> Exploration:
    """The s_0 group first; of a problem that is hard or nearly saturated also the states that tell most.

    A hard problem is continued from a correct response, a nearly saturated one from an incorrect one, of this visit or
    else of an earlier one. Problems in between have s_0 alone.
    """
    known, config = await visit.known_guidance(), visit.config
    moved = visit.n_completions - config.frontier_probe if config.frontier_probe and _tells_little(visit, known) else 0
    first, n_fixed = await _first(visit, known, moved), visit.n_completions - moved
    newest = _newest(visit, first, known, n_fixed)
    seen = [*visit.pool.seen(visit.problem.id), _outcomes(visit, visit.s0, first)]
    # The few completions of a probe say little by themselves, so all visits are asked.
    rate = float(_predicted(visit, seen, [visit.s0], True)[0][0]) if moved else pass_rate(first)
    verdict = wanted_verdict(rate, config)
    guidance = None if verdict is None else newest[verdict]
    states, values = ([], []) if guidance is None else _chosen(visit, guidance, seen)
    counts = [config.frontier_samples + share for share in in_equal_parts(moved, len(states))]
    completed = await asyncio.gather(
        *(visit.sample(s.prefix_ids, n, "frontier") for s, n in zip(states, counts, strict=True))
    )
    seen += [_outcomes(visit, state, of_state) for state, of_state in zip(states, completed, strict=True)]
    visit.pool.see(visit.problem.id, remembered(seen, visit.number, config.frontier_memory))
    return visit.exploration(
        visit.beside_s0(states), [first, *completed], s0_chose=True, n_fixed=n_fixed,
        no_guidance=verdict is not None and guidance is None,
        guidance_kept=guidance is not None and guidance.visit < visit.number, predicted_values=tuple(values),
    )  # fmt: skip


def _predicted(
    visit: Visit, seen: Sequence[Outcomes], states: Sequence[State], on_correct: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Expected V and V (1 - V) of states of one guidance, s_0 or later, at this visit."""
    return predicted(seen, [s.position for s in states], on_correct, visit.number, visit.config.frontier_memory)


def _tells_little(visit: Visit, known: Sequence[Guidance]) -> bool:
    """Whether a known guidance has a state that is predicted to tell ``frontier_gain`` times as much as s_0."""
    seen, gain = visit.pool.seen(visit.problem.id), visit.config.frontier_gain
    if not seen:
        return False
    for guidance in known:
        values, spread = _predicted(visit, seen, visit.split([guidance]), guidance.is_correct)
        if (
            wanted_verdict(values[0], visit.config) is guidance.is_correct
            and max(spread[1:], default=0) >= gain * spread[0]
        ):
            return True
    return False


def wanted_verdict(rate: float, config: MargeConfig) -> bool | None:
    """What the guidance of a problem with this pass rate must be: correct, incorrect, or (None) nothing helps.

    ``--marge.guidance_rule`` correct and incorrect leave out the other kind.
    """
    rule = GUIDANCE_RULES.load(config.guidance_rule)
    if rate <= config.frontier_hard:
        return True if True in rule.wanted(0.0, config.guidance_threshold) else None
    if rate >= config.frontier_easy:
        return False if False in rule.wanted(1.0, config.guidance_threshold) else None
    return None


async def _first(visit: Visit, known: Sequence[Guidance], moved: int) -> list[Completion]:
    """Completions of s_0 without those ``moved`` to a state, and more (``--marge.rescue_samples``) where no way on."""
    first = await visit.sample(visit.s0_ids, visit.n_completions - moved, "s_0")
    more = visit.config.rescue_samples
    if not more or pass_rate(first) or any(g.is_correct for g in known):
        return first
    return [*first, *await visit.sample(visit.s0_ids, more, "rescue")]


def _newest(
    visit: Visit, first: list[Completion], known: Sequence[Guidance], n_fixed: int
) -> dict[bool, Guidance | None]:
    """The newest correct and the newest incorrect response, which the next visit knows, too.

    The pass rate that is remembered is of the first ``n_fixed``: a rescue comes where all of these are wrong.
    """
    visit.pool.set_pass_rate(visit.problem.id, pass_rate(first[:n_fixed]))
    newest: dict[bool, Guidance | None] = {}
    for verdict in (True, False):
        fresh = visit.pick(first, f"s_0 {verdict}", (verdict,), n_fixed)
        newest[verdict] = next((g for g in (*fresh, *known) if g.is_correct is verdict), None)
    visit.remember([g for g in newest.values() if g is not None])
    return newest


def _chosen(visit: Visit, guidance: Guidance, seen: Sequence[Outcomes]) -> tuple[list[State], list[float]]:
    """States of the guidance, in its order, with the largest expected V (1 - V), and their predicted values.

    n V (1 - V) is what n completions tell of the steps after the state; a later state costs fewer tokens, and tells of
    as many fewer steps. Of equal states the earlier one is chosen. States that tell less than ``frontier_gain`` times
    as much as s_0 are left out: completions of another problem's s_0 do as well.
    """
    states = visit.split([guidance])
    values, spread = _predicted(visit, seen, states, guidance.is_correct)
    enough = [i for i in range(1, len(states)) if spread[i] >= visit.config.frontier_gain * spread[0]]
    best = sorted(sorted(enough, key=lambda i: (-spread[i], i))[: visit.config.frontier_states])
    return [states[i] for i in best], [float(values[i]) for i in best]


def in_equal_parts(total: int, parts: int) -> list[int]:
    """Whole numbers that differ by at most 1, the larger ones first; [] for no parts."""
    return [total // parts + (place < total % parts) for place in range(parts)]


def _outcomes(visit: Visit, state: State, completions: list[Completion]) -> Outcomes:
    return Outcomes(
        visit=visit.number, position=state.position,
        on_correct=None if state.guidance is None else state.guidance.is_correct,
        n_correct=sum(c.is_correct for c in completions), n=len(completions),
    )  # fmt: skip
