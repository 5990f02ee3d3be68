"""The regimes of the map: tasks that a model trained from scratch learns in minutes, from easy to nearly hopeless."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from embedded_task import make_base_model

from openrlhf_marge import REWARD_FILE, countdown
from openrlhf_marge.arithmetic.levels import LEVELS as ARITHMETIC
from openrlhf_marge.arithmetic.task import Task
from openrlhf_marge.countdown.levels import LEVELS as COUNTDOWN
from openrlhf_marge.rewards.domains import MATH

HELD_OUT = 96  # problems, with 64 responses each


@dataclass(frozen=True, kw_only=True)
class Regime:
    """A task at a level, and the budget of a run."""

    name: str
    task: Task
    tokens: int  # generated ones
    problems: int  # to train on, whole rollouts of 24 and 12; fewer are visited more often
    reward: str = MATH
    reward_file: str = REWARD_FILE
    loops: tuple[int, int] = (2, 8)  # iterations of loops, and responses a state: so many that they use the budget

    def prepare(self, folder: Path, seed: int) -> None:
        """Base model, training problems and held-out ones of a seed, unless they are there."""
        folder = folder / f"seed_{seed}"
        make_base_model(folder, seed, self.task)
        with (folder / "heldout.jsonl").open(encoding="utf-8") as file:
            (folder / f"heldout_{HELD_OUT}.jsonl").write_text("".join(islice(file, HELD_OUT)), encoding="utf-8")

    def variables(self, folder: Path) -> Mapping[str, str]:
        """What methods.toml asks for."""
        return {
            "MAP_BASE": str(folder), "MAP_MAX_LEN": str(self.task.max_len), "MAP_HELDOUT": str(HELD_OUT),
            "MAP_PROBLEMS": str(self.problems),
            "MAP_LOOP_SAMPLES": str(self.loops[1]), "MAP_REWARD": self.reward, "MAP_REWARD_FILE": self.reward_file,
        }  # fmt: skip


def _countdown(level: str, tokens: int, problems: int) -> Regime:
    return Regime(
        name=f"Countdown {level}", task=COUNTDOWN[level], tokens=tokens, problems=problems,
        reward="countdown", reward_file=countdown.REWARD_FILE,
    )  # fmt: skip


REGIMES: Mapping[str, Regime] = {
    regime.name: regime
    for regime in (
        Regime(name="easy", task=ARITHMETIC["easy"], tokens=150_000, problems=240),
        Regime(name="hard", task=ARITHMETIC["hard"], tokens=200_000, problems=120),
        Regime(name="xhard", task=ARITHMETIC["xhard"], tokens=300_000, problems=72, loops=(3, 16)),
        Regime(name="few", task=ARITHMETIC["few"], tokens=200_000, problems=48),
        _countdown("easy", 100_000, 240),
        _countdown("hard", 200_000, 120),
    )
}
