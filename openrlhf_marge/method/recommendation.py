"""Which preset the map (examples/map) recommends for data with such pass rates: one line after the first rollout."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from openrlhf_marge.method.groups import Exploration
from openrlhf_marge.method.presets import CORE, PRESETS

if TYPE_CHECKING:
    from openrlhf_marge.method.config import MargeConfig

# Share of problems without any correct response from s_0, from which on -> the preset that at least five seeds of the
# map showed above GRPO there; the largest share first. None did: six seeds of xhard had, and later ones took it back.
# tests/test_map.py holds it to the rows.
SHOWN: tuple[tuple[float, str], ...] = ()


def preset_for(unsolved: float) -> str | None:
    """The preset for data with this share of problems without a correct response; None where none was shown to pay."""
    return next((preset for share, preset in SHOWN if unsolved >= share), None)


def recommendation(explorations: Sequence[Exploration], config: MargeConfig) -> str | None:
    """The line; None where nothing was sampled from s_0."""
    rates = [e.pass_rate for e in explorations if e.pass_rate is not None]
    if not rates:
        return None
    unsolved = sum(rate == 0 for rate in rates)
    preset = preset_for(unsolved / len(rates))
    said = f"Of the first rollout's {len(rates)} problems {unsolved} had no correct response from s_0"
    if preset is None:
        return f"{said}; for such data the map (examples/map) does not show any method above GRPO yet"
    has_it = all(getattr(config, field) == PRESETS[preset][field] for field in CORE)
    which = ", which this run has" if has_it else ""
    return f"{said}; for such data the map (examples/map) recommends --marge.preset {preset}{which}"
