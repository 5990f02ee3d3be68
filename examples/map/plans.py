"""What the map runs: its compare files for a regime, each method with the flags that the regime's trials chose."""

from __future__ import annotations

import math
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from regimes import Regime
from rows import BASELINE, MapTrial, Row, chosen

from openrlhf_marge.compare import Plan, read_plan
from openrlhf_marge.compare.file_parts import STAGES, Method
from openrlhf_marge.compare.kinds import TRAINED
from openrlhf_marge.compare.sizes import BATCH, sizes_of
from openrlhf_marge.compare.tuning import tuning_of
from openrlhf_marge.data.files import read_records
from openrlhf_marge.runs.progress import RunBudget

HERE = Path(__file__).resolve().parent
TRIALS = HERE / "trials.csv"
METHODS, PAIRS = "methods.toml", "pairs.toml"  # marks are kept by the methods of the first one
LEARNING_RATE = re.compile(r"--actor\.adam\.lr (\S+)")
# Methods that add a flag to one that had trials have its flags; all others have the learning rate chosen for GRPO, as
# it would be for their batches.
LIKE = {
    "frontier, negatives 0": "frontier", "frontier, failures only": "frontier", "frontier, failures too": "frontier",
    "frontier, 3 epochs": "frontier", "frontier, GRPO's KL": "frontier", "frontier, initial reference": "frontier",
    "GRPO, dynamic filtering": "GRPO", "GRPO, negatives 0.25": "GRPO", "GRPO, negatives 0": "GRPO",
    "GRPO, iteration's reference": "GRPO", "GRPO, 3 epochs": "GRPO",
}  # fmt: skip


def base_of(regime: Regime, out: Path) -> Path:
    """Base models and data of the regime, a folder for each seed."""
    return (out / "base" / regime.name).absolute()


def read_methods(
    regime: Regime, out: Path, folder: Path, seeds: Sequence[int] | None = None, file: str = METHODS
) -> Plan:
    """A compare file for a regime, with its budget, whose runs go into ``folder``."""
    os.environ.update(regime.variables(base_of(regime, out)))
    plan = read_plan(HERE / file, folder, seeds)
    if plan.loop is not None:
        plan = replace(plan, loop=replace(plan.loop, iterations=regime.loops[0]))
    return replace(plan, budget=RunBudget("tokens", regime.tokens))


def plan_of(regime: Regime, method: str, seed: int, out: Path) -> Plan:
    """The plan of one regime, method and seed, whose base model may have to be made (``Regime.prepare``)."""
    plans = [read_methods(regime, out, (out / regime.name).absolute(), [seed], file) for file in (METHODS, PAIRS)]
    known = {m.name: (m, plan) for plan in plans for m in plan.methods}
    if method not in known:
        raise ValueError(f"--methods {method}: {METHODS} and {PAIRS} have {'; '.join(known)}")
    found, plan = known[method]
    return replace(plan, methods=(at_its_best(found, regime, plan),))


def flags_of(method: Method) -> str:
    """In one line; of a loop those of its stages."""
    stages = (f"--{stage} '{getattr(method, stage)}'" for stage in STAGES if getattr(method, stage))
    return " ".join(" ".join((method.flags, *stages)).split())


def with_other_flags(rows: Sequence[Row], methods: Iterable[tuple[Regime, str]], out: Path) -> Iterator[str]:
    """A sentence for each method whose finished runs had other flags than a new one would have: all are averaged."""
    for regime, method in methods:
        mine = [row for row in rows if row.run[:2] == (regime.name, method)]
        now = flags_of(plan_of(regime, method, mine[0].seed, out).methods[0]) if mine else ""
        if seeds := sorted({row.seed for row in mine if row.flags != now}):
            yield (
                f"{regime.name}, {method}: the rows of the seeds {', '.join(map(str, seeds))} have other flags than "
                f"{now!r} of a new run; see to it that they mean the same, or take these rows out"
            )


def at_its_best(method: Method, regime: Regime, plan: Plan) -> Method:
    """The method with what the regime's trials chose; ValueError where there were none."""
    if method.kind not in TRAINED:
        return method
    best = best_of(regime, tuning_of(plan).methods)
    if method.name in best:
        return replace(method, flags=best[method.name])
    first = best[LIKE[method.name]] if method.name in LIKE else rate_for(method, plan, best[BASELINE])
    return replace(method, flags=f"{first} {method.flags.strip()}".strip())


def rate_for(method: Method, plan: Plan, baseline: str) -> str:
    """The baseline's learning rate, by Adam's rule for other batches: as the root of their size (arXiv:2205.10287)."""
    rate = LEARNING_RATE.search(baseline)[1]
    of_baseline, of_method = (sizes_of(f"{plan.shared} {flags}".split())[BATCH] for flags in (baseline, method.flags))
    if of_method != of_baseline:
        rate = f"{float(rate) * math.sqrt(of_method / of_baseline):.2g}"
    return f"--actor.adam.lr {rate}"


def best_of(regime: Regime, tuned: Iterable[str]) -> dict[str, str]:
    """Method -> the flags that the regime's trials chose; ValueError where one had none, or fewer than another."""
    trials = read_records(TRIALS, MapTrial)
    numbers = Counter(trial.method for trial in trials if trial.regime == regime.name)
    if missing := sorted(set(tuned) - numbers.keys()):
        raise ValueError(
            f"{TRIALS} has no trials of {' and '.join(missing)} in {regime.name}; run this with --tune first"
        )
    if len(set(numbers.values())) > 1:
        counts = " and ".join(f"{number} of {name}" for name, number in sorted(numbers.items()))
        raise ValueError(
            f"{TRIALS} has trials of {regime.name} in unequal numbers, {counts}; run --tune without --methods"
        )
    return chosen(trials, regime.name)
