"""Flags that go together, by a name for ``--marge.preset``, and which of them need each other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# Preset -> flags of --marge.*, each of which may be given besides.
PRESETS: Mapping[str, Mapping[str, Any]] = {
    "paper": {  # Algorithm 1, Sec. 4.1, App. B.1: the defaults
        "explore": "guided", "guidance_source": "carried", "guidance_rule": "preference", "guide_when": "always",
        "n_candidates": 32, "state_budget": "all", "advantage": "group_norm", "reference": "iteration",
        "negative_weight": 1.0,
    },
    "frontier": {  # as measured, see examples/map
        "explore": "frontier", "guidance_source": "fresh", "guidance_rule": "correct",
        "frontier_states": 1, "frontier_samples": 4,
        "frontier_hard": 0.25, "frontier_easy": 0.85, "frontier_gain": 2.0, "frontier_probe": 2,
    },
}  # fmt: skip
CORE = ("explore", "guidance_source")  # what a preset is; with other values it is none


def preset_values(given: Mapping[str, Any]) -> Mapping[str, Any]:
    """What the preset among the flags ``given`` sets, {} without one.

    ValueError for an unknown preset, and for one that a flag contradicts.
    """
    name = given.get("preset")
    if name is None:
        return {}
    if name not in PRESETS:
        raise ValueError(f"--marge.preset is {name!r}; it must be one of {', '.join(PRESETS)}")
    for field in CORE:
        if given.get(field, value := PRESETS[name][field]) != value:
            raise ValueError(
                f"--marge.preset {name} stands for --marge.{field} {value}, which --marge.{field} {given[field]} "
                "contradicts; leave one of them out"
            )
    return PRESETS[name]


def check_frontier(config: Any) -> None:
    """ValueError when ``--marge.explore frontier`` cannot do what the flags say; ``config`` is the MargeConfig."""
    if config.explore != "frontier":
        if config.rescue_samples:
            raise ValueError("--marge.rescue_samples is for --marge.explore frontier; leave it out or explore so")
        return
    if config.guidance_source != "fresh":
        raise ValueError(
            "--marge.explore frontier samples s_0 first and takes guidance from there; set --marge.guidance_source "
            "fresh, or --marge.preset frontier, which does"
        )
    if config.frontier_hard >= config.frontier_easy:
        raise ValueError(
            f"--marge.frontier_hard {config.frontier_hard:g} is not below --marge.frontier_easy "
            f"{config.frontier_easy:g}: a problem would be both; lower the first or raise the second"
        )
    if config.state_budget == "adaptive" or config.n_guidances > 1 or config.guide_when != "always":
        raise ValueError(
            "--marge.explore frontier chooses its states itself; leave out --marge.state_budget adaptive, "
            "--marge.n_guidances and --marge.guide_when hard (--marge.frontier_hard says which problems are)"
        )
