"""A teacher that wanders: `Countdown` -> demonstration, mostly of legal steps that lead elsewhere.

A model that learns this writes the format and correct arithmetic, and rarely searches; RL can teach it that.
"""

import random
from dataclasses import dataclass

from openrlhf_marge.countdown.problems import Countdown, format_response, paths_of, solutions


@dataclass(frozen=True, slots=True)
class Wanderer:
    """Shows a solution with probability `skill`, else any path."""

    skill: float

    def demonstrate(self, problem: Countdown, rng: random.Random) -> str:
        """A response to `problem`, drawn evenly from the solutions or from all paths."""
        knows = rng.random() < self.skill
        return format_response(rng.choice(solutions(problem) if knows else paths_of(problem.numbers)))
