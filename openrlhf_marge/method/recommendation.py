"""Which preset the map (examples/map) recommends for data with such pass rates: one line after the first rollout."""

from __future__ import annotations

from collections.abc import Sequence

from openrlhf_marge.types import Exploration

# Share of problems without any correct response from s_0, from which on -> what five seeds of the map showed there.
# tests/test_map.py holds it to the rows.
SHOWN: tuple[tuple[float, str | None], ...] = (
    (0.9, "frontier"),
    (0.0, None),
)


def recommendation(explorations: Sequence[Exploration]) -> str | None:
    """The line; None where nothing was sampled from s_0."""
    rates = [e.pass_rate for e in explorations if e.pass_rate is not None]
    if not rates:
        return None
    unsolved = sum(rate == 0 for rate in rates)
    preset = next(preset for share, preset in SHOWN if unsolved >= share * len(rates))
    said = f"Of the first rollout's {len(rates)} problems {unsolved} had no correct response from s_0"
    if preset is None:
        return f"{said}; for such data the map (examples/map) does not show any method above GRPO yet"
    return f"{said}; for such data the map (examples/map) recommends --marge.preset {preset}"
