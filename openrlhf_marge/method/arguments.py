"""The flags ``--marge.*`` of a command: added to its parser, and read back as a MargeConfig."""

from __future__ import annotations

import argparse
from collections.abc import Collection
from dataclasses import fields
from typing import Any

from openrlhf_marge.method.config import PREFIX, MargeConfig
from openrlhf_marge.method.explorations import EXPLORATIONS
from openrlhf_marge.method.flags import add_flags, options_of
from openrlhf_marge.method.presets import PRESETS, preset_values

# How the flags of one strategy begin -> the strategy.
STRATEGY_OF = {
    "vanilla": "vanilla", "frontier": "frontier", "rescue": "frontier", "vine": "vineppo", "spo": "spo_tree",
    "tree": "tree_rl", "mcts": "mcts_dpo",
}  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser, without: Collection[str] = ()) -> None:
    """Add the flags; a command that has no use for the fields in ``without`` refuses theirs.

    What is not given is None until ``from_namespace`` has looked at ``--marge.preset``.
    """
    group = parser.add_argument_group("MARGE (--experience_maker marge)")
    add_flags(group, MargeConfig, PREFIX, without)
    parser.set_defaults(**{f"{PREFIX}{f.name}": None for f in options_of(MargeConfig) if f.name not in without})


def from_namespace(namespace: Any) -> MargeConfig:
    """The config from ``args.marge`` as argparse filled it, with what ``--marge.preset`` sets and was not given."""
    given = {f.name: value for f in fields(MargeConfig) if (value := getattr(namespace, f.name)) is not None}
    given = {name: tuple(v) if isinstance(v, list) else v for name, v in given.items()}
    config = MargeConfig(**{**preset_values(given), **given})
    for name in given:
        strategy = STRATEGY_OF.get(name.split("_")[0])
        if strategy and config.explore in EXPLORATIONS.own and config.explore != strategy:
            raise ValueError(f"--{PREFIX}{name} is for --marge.explore {strategy}; leave it out or explore so")
    return config


def preset_sentence(namespace: Any) -> str | None:
    """What ``--marge.preset`` set and what it left to the flags given; None without a preset."""
    given = {name: value for name, value in vars(namespace).items() if value is not None}
    if given.get("preset") is None:
        return None
    values = {name: value for name, value in preset_values(given).items() if name not in given}
    sets = ", ".join(f"--{PREFIX}{name} {value}" for name, value in values.items()) or "nothing"
    kept = [f"--{PREFIX}{name} {given[name]}" for name in PRESETS[given["preset"]] if name in given]
    return f"--{PREFIX}preset {given['preset']} sets {sets}" + (f"; given are {', '.join(kept)}" if kept else "")
