"""[tune] of a compare file -> the trials of its methods, their rows, and the flags that did best."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import product
from math import prod
from pathlib import Path

from openrlhf_marge.compare.file_parts import Method, Tuning
from openrlhf_marge.compare.kinds import TRAINED
from openrlhf_marge.compare.matching import is_matched
from openrlhf_marge.compare.plan import Plan
from openrlhf_marge.data.files import writing


@dataclass(frozen=True, kw_only=True)
class TrialRow:
    """A finished run: ``score`` is the metric's mean over the data sets, a share of 1."""

    method: str
    flags: str
    seed: int
    score: float
    tokens: int
    commit: str
    scored_by: str = ""  # metric, evaluation and budget; "" of an earlier version

    @property
    def run(self) -> tuple[str, str, int]:
        return self.method, self.flags, self.seed


def trials(plan: Plan, name: str) -> list[Method]:
    """The method with every combination of its flags, each under a name of its own; flags that come later win."""
    method = next(m for m in plan.methods if m.name == name)
    combinations = product(*tuning_of(plan).methods[name].values())
    return [
        replace(method, name=f"{name}, trial {number}", flags=" ".join(filter(None, (method.flags.strip(), *flags))))
        for number, flags in enumerate(combinations, start=1)
    ]


def tuning_plan(plan: Plan) -> Plan:
    """The trials as the methods of a plan with the seeds of [tune]; ValueError when [tune] is not a fair choice."""
    tune = tuning_of(plan)
    check_tuning(plan, tune)
    methods = tuple(trial for name in tune.methods for trial in trials(plan, name))
    budget = None if plan.budget is None else plan.budget.at(tune.share)
    evaluate = replace(plan.evaluate, metrics=(tune.metric,), mark_flags=None)
    return replace(
        plan, methods=methods, seeds=tune.seeds, baseline=methods[0].name, budget=budget, evaluate=evaluate, marks=(),
        tune=None,
    )  # fmt: skip


def tuning_of(plan: Plan) -> Tuning:
    if plan.tune is None:
        raise ValueError(f"{plan.file} has no table [tune]; add one with seeds, and methods.NAME with lists of flags")
    return plan.tune


def check_tuning(plan: Plan, tune: Tuning) -> None:
    """ValueError for trials that cannot be run, or that favour a method or the seeds to come."""
    place = f"{plan.file}, [tune]"
    kinds = {method.name: method.kind for method in plan.methods}
    for name, lists in tune.methods.items():
        if kinds.get(name) not in TRAINED:
            raise ValueError(f"{place}: {name!r:.60} is no method that train_ppo_ray trains; leave it out")
        if wrong := [key for key, flags in lists.items() if len(set(flags)) < len(flags) or not flags]:
            raise ValueError(f"{place}: the list {wrong[0]} of {name} is empty, or has an entry twice; mend it")
    if not tune.seeds or not tune.methods:
        raise ValueError(f"{place} has no {'methods' if tune.seeds else 'seeds'}; give at least one")
    counts = {name: prod(map(len, lists.values())) for name, lists in tune.methods.items()}
    if len(set(counts.values())) > 1:
        found = ", ".join(f"{name} {count}" for name, count in counts.items())
        raise ValueError(f"{place}: the methods have different numbers of trials ({found}); give all the same")
    if not 0 < tune.share <= 1:
        raise ValueError(f"{place}: share is {tune.share:g}; it is a share of the budget, such as 0.5")
    if chained := [method.name for method in plan.methods if method.name in tune.methods and method.starts_from]:
        raise ValueError(f"{place}: {chained[0]} starts from another method, which trials do not train; leave it out")
    if is_matched(plan):
        raise ValueError(f"{place}: trials have the sizes of their own flags; leave match, like and responses_of out")
    chosen_by, confirmed_by = (
        {plan.fill(data, seed) for seed in seeds for data in plan.evaluate.data} for seeds in (tune.seeds, plan.seeds)
    )
    if both := sorted(chosen_by & confirmed_by):
        raise ValueError(
            f"{place}: {both[0]} would both choose and confirm; put $seed into the names of [evaluate] data"
        )


def scored_by(plan: Plan) -> str:
    """What the score of a trial is of, variables filled; ``plan`` is that of the trials.

    Of a data file its name and its folder's, which stay where everything moves.
    """
    evaluation, budget = plan.evaluate, "" if plan.budget is None else f", {plan.budget.amount:g} {plan.budget.unit}"
    first = plan.seeds[0]
    data = ["/".join(Path(plan.fill(path, first)).parts[-2:]) for path in evaluation.data]
    flags = plan.fill(evaluation.flags, first).split()
    return f"{' '.join(evaluation.metrics)} of {' '.join(data)}, {' '.join(flags)}{budget}"


def check_scored_alike(place: Path, rows: Iterable[TrialRow], wanted: str) -> None:
    """ValueError where a trial's score is of something else than now."""
    if other := next((row.scored_by for row in rows if row.scored_by not in ("", wanted)), None):
        raise ValueError(f"{place} has trials by {other}, where it is {wanted} now; give another --out")


def best(plan: Plan, rows: Sequence[TrialRow]) -> dict[str, tuple[Method, float]]:
    """Method -> its best trial by the mean over the seeds, of equal ones the first, and that mean."""
    tune, found = tuning_of(plan), {}
    means = mean_scores(row for row in rows if row.seed in tune.seeds)
    for name in tune.methods:
        scored = [(trial, means[name][trial.flags]) for trial in trials(plan, name)]
        found[name] = max(scored, key=lambda pair: pair[1])
    return found


def mean_scores(rows: Iterable[TrialRow]) -> dict[str, dict[str, float]]:
    """Method -> flags of a trial -> its mean over the seeds, in the order of the rows."""
    scores: dict[str, dict[str, list[float]]] = {}
    for row in rows:
        scores.setdefault(row.method, {}).setdefault(row.flags, []).append(row.score)
    return {method: {flags: sum(of) / len(of) for flags, of in found.items()} for method, found in scores.items()}


def write_best(path: Path, plan: Plan, found: dict[str, tuple[Method, float]]) -> str:
    """A table of a compare file for each method; returns the text."""
    tune = tuning_of(plan)
    n_trials = len(trials(plan, next(iter(tune.methods))))
    lines = [
        f"# Best of {n_trials} trials of each method by {tune.metric}, at {tune.share:g} of the budget, over the "
        f"seeds {', '.join(map(str, tune.seeds))}."
    ]
    for name, (method, score) in found.items():
        # A JSON string is a basic string of TOML.
        lines += ["", f"[methods.{json.dumps(name)}]  # {tune.metric} {score:.4f}", f'kind = "{method.kind}"']
        lines += [f"share = {method.share:g}"] * (method.share != 1)
        lines += [f"flags = {json.dumps(method.flags, ensure_ascii=False)}"]
    text = "\n".join(lines) + "\n"
    with writing(path) as file:
        file.write(text)
    return text
