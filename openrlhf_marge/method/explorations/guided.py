"""From every state of a guidance; ``--marge.guidance_source`` says where that comes from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from openrlhf_marge.method.explorations.carried import carried
from openrlhf_marge.method.explorations.fresh import fresh
from openrlhf_marge.types import Exploration

if TYPE_CHECKING:
    from openrlhf_marge.method.visit import Visit


async def guided(visit: Visit) -> Exploration:
    """Explore with carried or fresh guidance."""
    return await (fresh(visit) if visit.config.guidance_source == "fresh" else carried(visit))
