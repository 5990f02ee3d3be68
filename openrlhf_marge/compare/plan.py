"""A compare file: which methods with which flags, seeds, budget and evaluation (``cli/compare.py`` shows one)."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from string import Template

from openrlhf_marge import REWARD_FILE
from openrlhf_marge.compare.file_parts import Evaluation, LoopFlags, Method, Tuning
from openrlhf_marge.compare.kinds import TRAINED
from openrlhf_marge.runs.progress import ProgressPoint, RunBudget


@dataclass(frozen=True, kw_only=True)
class Start:
    """What a chained run starts from: a run by its name, the model that it trained, and what it used."""

    name: str
    model: str
    used: ProgressPoint


@dataclass(frozen=True, kw_only=True)
class PlannedRun:
    """A method with a seed, in a folder of its own; of a chained one the start is known once that is there."""

    method: Method
    seed: int
    folder: Path
    start: Start | None = None

    @property
    def before(self) -> ProgressPoint:
        """What was used before it began."""
        return self.start.used if self.start else ProgressPoint()

    def __str__(self) -> str:
        return f"{self.method.name}, seed {self.seed}"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A compare file, read."""

    file: str
    out: Path
    seeds: tuple[int, ...]
    baseline: str
    evaluate: Evaluation
    methods: tuple[Method, ...]
    budget: RunBudget | None = None
    marks: tuple[float, ...] = ()  # shares of the budget at which models are evaluated, too
    loop: LoopFlags | None = None
    tune: Tuning | None = None
    shared: str = ""  # flags of train_ppo_ray
    match: str = ""  # "updates": every method is like the baseline
    tolerance: float = 0.05  # of the budget
    strict: bool = False

    @property
    def runs(self) -> list[PlannedRun]:
        """Method after method, a chained one after those that it starts from.

        A run or model whose name and evaluation do not depend on the seed is one run.
        """
        return [
            PlannedRun(method=method, seed=seed, folder=self.out / method.name / f"seed_{seed}")
            for method in sorted(self.methods, key=lambda method: len(self.chain_of(method)))
            for seed in (self.seeds if self._depends_on_seed(method) else self.seeds[:1])
        ]

    @property
    def by_name(self) -> dict[str, Method]:
        return {method.name: method for method in self.methods}

    def chain_of(self, method: Method) -> list[Method]:
        """The methods that start from each other, up to this one, the first one first; a circle is cut once."""
        chain, names = [method], self.by_name
        while chain[0].starts_from and names[chain[0].starts_from] not in chain:
            chain.insert(0, names[chain[0].starts_from])
        return chain

    def like_of(self, method: Method) -> str:
        """The method whose updates it gets; "" for one that stays as it is."""
        is_matched = self.match and method.kind in TRAINED and not method.responses_of
        return method.like or (self.baseline if is_matched and method.name != self.baseline else "")

    def fill(self, text: str, seed: int) -> str:
        """``text`` with $seed, $out, $grader and the environment's variables; ValueError for another one."""
        known = {**os.environ, "seed": str(seed), "out": str(self.out), "grader": REWARD_FILE}
        try:
            return Template(text).substitute(known)
        except KeyError as e:
            raise ValueError(
                f"{self.file} has ${e.args[0]} in {text.strip()!r}, which is not set; set it before the command"
            ) from e
        except ValueError as e:
            raise ValueError(f"{self.file} has a $ that names nothing in {text.strip()!r}; write $$ for it") from e

    def budget_of(self, method: Method) -> RunBudget:
        """Its share of the budget, which files with a kind have; of a chained method that of all its chain."""
        assert self.budget is not None, "checked when the file was read"
        return replace(self.budget, amount=self.budget.amount * method.share)

    def _depends_on_seed(self, method: Method) -> bool:
        evaluate = self.evaluate
        flags = (evaluate.flags, evaluate.mark_flags or "", method.evaluate)
        texts = (method.run or method.model, *flags, *evaluate.data)
        return bool(method.kind) or len({tuple(self.fill(text, seed) for text in texts) for seed in self.seeds}) > 1
