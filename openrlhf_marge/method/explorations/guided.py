"""From every state of a guidance; ``--marge.guidance_source`` says where that comes from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from openrlhf_marge.method.explorations.carried import carried
from openrlhf_marge.method.explorations.fresh import fresh
from openrlhf_marge.method.explorations.traits import Traits
from openrlhf_marge.method.groups import Exploration

if TYPE_CHECKING:
    from openrlhf_marge.method.config import MargeConfig
    from openrlhf_marge.method.visit import Visit

# Mean states per problem reported for Qwen2-7B-Instruct split by step labels (Appendix B.1).
PAPER_STEP_STATES = 4.42


def states_after_s0(config: MargeConfig) -> float:
    """Of all guidances of a problem together."""
    states = float(config.n_states) if config.split == "tokens" else PAPER_STEP_STATES
    return config.n_guidances * (min(states, config.max_states or states) - 1)


def guided_states(config: MargeConfig) -> float:
    """Of a problem; all guidances share s_0."""
    return 1 + states_after_s0(config)


@Traits(states=guided_states)
async def guided(visit: Visit) -> Exploration:
    """Explore with carried or fresh guidance."""
    return await (fresh(visit) if visit.config.guidance_source == "fresh" else carried(visit))
