"""The regimes of the map: tasks that a model trained from scratch learns in minutes, from easy to nearly hopeless."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from quickstart import make_base_model

from openrlhf_marge import REWARD_FILE

HELD_OUT = 96  # problems, with 64 responses each


@dataclass(frozen=True, kw_only=True)
class Regime:
    """A task at a level; the budget is in generated tokens."""

    name: str
    level: str
    max_len: int
    tokens: int
    problems: int = 240  # to train on

    def prepare(self, folder: Path, seed: int) -> None:
        """Base model, training problems and held-out ones of a seed, unless they are there."""
        folder = folder / f"seed_{seed}"
        make_base_model(folder, seed)
        with (folder / "heldout.jsonl").open(encoding="utf-8") as file:
            (folder / f"heldout_{HELD_OUT}.jsonl").write_text("".join(islice(file, HELD_OUT)), encoding="utf-8")

    def variables(self, folder: Path) -> Mapping[str, str]:
        """What methods.toml asks for."""
        return os.environ | {
            "MAP_BASE": str(folder), "MAP_MAX_LEN": str(self.max_len), "MAP_PROBLEMS": str(self.problems),
            "MAP_REWARD": REWARD_FILE, "MAP_HELDOUT": str(HELD_OUT),
        }  # fmt: skip


REGIMES: Mapping[str, Regime] = {
    regime.name: regime
    for regime in (
        Regime(name="easy", level="easy", max_len=96, tokens=300_000),
    )
}
