"""Every response from s_0 gets the value of each of its states by sampling (VinePPO, arXiv 2410.01679)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

from openrlhf_marge.method.explorations.traits import Traits
from openrlhf_marge.method.groups import Exploration
from openrlhf_marge.types import Completion, Guidance, State, TokenIds

if TYPE_CHECKING:
    from openrlhf_marge.method.visit import Visit


@Traits(weighs_tokens=True, states=lambda config: 1.0)
async def vineppo(visit: Visit) -> Exploration:
    """The s_0 group alone is trained on; ``vine_samples`` completions of each of its states give the values.

    A token's advantage is the value after its step minus the one before; after the last step it is the reward.
    States that responses have in common are sampled once.
    """
    responses = await visit.sample(visit.s0_ids, visit.n_completions, "s_0")
    paths = [_states(visit, response) for response in responses]
    states = list({state.prefix_ids: state for path in paths for state in path}.values())
    n = visit.config.vine_samples
    probes = visit.probes(states, await asyncio.gather(*(visit.sample(s.prefix_ids, n, "value") for s in states)))
    values = {probe.state.prefix_ids: probe.value for probe in probes}
    weighed = [
        replace(response, advantages=_advantages(response, path, values, len(visit.s0_ids)))
        for response, path in zip(responses, paths, strict=True)
    ]
    return visit.exploration([visit.s0], [weighed], probes=probes)


def _states(visit: Visit, response: Completion) -> list[State]:
    """Those of one response, s_0 first; of an empty one s_0 alone."""
    ids = visit.without_end(response)
    if not ids:
        return [visit.s0]
    as_guidance = Guidance(
        token_ids=visit.s0_ids + ids, is_correct=response.is_correct, pass_rate=float(response.is_correct),
        visit=visit.number,
    )  # fmt: skip
    return visit.split([as_guidance])


def _advantages(
    response: Completion, path: Sequence[State], values: dict[TokenIds, float], s0: int
) -> tuple[float, ...]:
    """One per token of the response, of which those of ``s0`` tokens before it are no part."""
    ends = [*(len(state.prefix_ids) - s0 for state in path), len(response.token_ids)]
    along = [*(values[state.prefix_ids] for state in path), response.reward]
    steps = zip(pairwise(ends), pairwise(along), strict=True)
    return tuple(after - before for (start, end), (before, after) in steps for _ in range(start, end))
