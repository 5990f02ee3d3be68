"""Everything from s_0 (Sec. 4.3.2, Tables 3 and 5), to compare guided exploration with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from openrlhf_marge.method.explorations.guided import states_after_s0
from openrlhf_marge.method.explorations.traits import Traits
from openrlhf_marge.method.groups import Exploration
from openrlhf_marge.types import pass_rate

if TYPE_CHECKING:
    from openrlhf_marge.method.config import MargeConfig
    from openrlhf_marge.method.visit import Visit


def vanilla_states(config: MargeConfig) -> float:
    """Completions of s_0 in place of the states: as many, or for as many tokens about half of those after s_0.

    Those would be sampled half-way on average.
    """
    after_s0 = states_after_s0(config)
    return 1 + (after_s0 / 2 if config.vanilla_match == "tokens" else after_s0)


@Traits(states=vanilla_states)
async def vanilla(visit: Visit) -> Exploration:
    """As many completions of s_0, or tokens, as guided exploration would have taken after the same first ones."""
    first = await visit.sample(visit.s0_ids, visit.n_completions, "s_0")
    guidances = visit.pick(first, "s_0")
    after_s0 = visit.split(guidances)[1:] if visit.guides(pass_rate(first)) else []
    more = visit.n_completions * len(after_s0)
    if visit.config.vanilla_match == "tokens":
        # Of a whole response, a completion of a state takes the share that lies after it.
        more = round(visit.n_completions * sum(1 - state.position for state in after_s0))
    rest = await visit.sample(visit.s0_ids, more, "more") if more else []
    return visit.exploration([visit.s0], [[*first, *rest]], n_fixed=visit.n_completions, no_guidance=not guidances)
