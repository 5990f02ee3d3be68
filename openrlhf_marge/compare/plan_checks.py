"""Checks of a compare file's values; ValueError with one sentence that names the file, the key and what to do."""

from __future__ import annotations

import math
from pathlib import Path

from openrlhf_marge.compare.chains import check_chains, check_unmatched
from openrlhf_marge.compare.file_parts import STAGES, Method
from openrlhf_marge.compare.kinds import LOOPED, TRAINED
from openrlhf_marge.compare.plan import Plan
from openrlhf_marge.runs.marks import check_marks
from openrlhf_marge.runs.progress import UNITS

WRITTEN = (
    "table.md",
    "table.tex",
    "results.csv",
    "marks.csv",
    "curves.csv",
    "curves.png",
)  # into the folder of the methods
LONGEST_NAME = 200  # bytes; file systems take 255, and logs and runs are named after methods


def check_plan(plan: Plan) -> None:
    """ValueError for what the single tables cannot tell."""
    for name, values in (("seeds", plan.seeds), ("[evaluate] data", plan.evaluate.data)):
        if not values:
            raise ValueError(f"{plan.file}: {name} is empty; give at least one")
        if doubled := [value for value in values if values.count(value) > 1]:
            raise ValueError(f"{plan.file}: {name} has {doubled[0]} twice; leave one out")
    if not 0 < plan.tolerance < 1:
        raise ValueError(f"{plan.file}: tolerance is {plan.tolerance:g}; it is a share of the budget, such as 0.05")
    if plan.strict and plan.budget is None:
        raise ValueError(f"{plan.file}: strict = true compares with a budget; give [budget] one of {', '.join(UNITS)}")
    check_plan_marks(plan)
    if plan.loop and plan.loop.iterations < 1:
        raise ValueError(f"{plan.file}, [loop]: iterations is {plan.loop.iterations}; it must be at least 1")
    if not plan.methods:
        raise ValueError(f"{plan.file} has no method; add a table [methods.NAME]")
    for data in plan.evaluate.data:
        if not data.isprintable():
            raise ValueError(f"{plan.file}: [evaluate] data has {data!r:.60}, which cannot be in a table; rename it")
    for method in plan.methods:
        check_name(plan.file, method.name)
        check_method(f"{plan.file}, [methods.{method.name}]", method, plan)
    names = [method.name for method in plan.methods]
    if plan.baseline not in names:
        raise ValueError(f"{plan.file}: baseline {plan.baseline!r} is no method; the methods are {', '.join(names)}")
    check_chains(plan)
    check_matching(plan)
    check_unmatched(plan)
    if plan.tune and (both := sorted({*plan.seeds} & {*plan.tune.seeds})):
        raise ValueError(f"{plan.file}: seed {both[0]} is among those of [tune], too; compare with seeds of their own")


def check_plan_marks(plan: Plan) -> None:
    """ValueError for marks that no run can keep."""
    try:
        check_marks(plan.marks)
    except ValueError as e:
        raise ValueError(f"{plan.file}: {e}") from e
    if plan.marks and (looped := [method.name for method in plan.methods if method.is_looped]):
        raise ValueError(
            f"{plan.file}: marks are kept by what train_ppo_ray trains, and {looped[0]} is a loop; leave marks out"
        )
    if plan.evaluate.mark_flags is not None and not plan.marks:
        raise ValueError(f"{plan.file}: [evaluate] mark_flags changes nothing without marks; leave it out")


def check_name(file: str, name: str) -> None:
    """ValueError for a method whose name is no name of a folder of its own, or no text of a table."""
    place = f"{file}: the method {name!r:.60}"
    if not name or name != Path(name).name or name.startswith(".") or not name.isprintable():
        raise ValueError(f"{place} is to be the name of a folder; leave /, line breaks and a leading dot out")
    if len(name.encode()) > LONGEST_NAME:
        raise ValueError(f"{place}... has a name of more than {LONGEST_NAME} bytes; shorten it")
    if name.casefold().removesuffix(".part") in WRITTEN:
        raise ValueError(f"{place} has the name of a file that compare writes; rename it")


def check_method(place: str, method: Method, plan: Plan) -> None:
    """ValueError naming the key of a method that cannot be what is meant."""
    given = [key for key in ("kind", "run", "model") if getattr(method, key)]
    if len(given) != 1:
        raise ValueError(f"{place} has {' and '.join(given) or 'none'} of kind, run and model; give exactly one")
    if method.kind and method.kind not in {**TRAINED, **LOOPED}:
        raise ValueError(f"{place}: kind {method.kind!r} is not known; known are {', '.join([*TRAINED, *LOOPED])}")
    if not 0 < method.share < math.inf:
        raise ValueError(f"{place}: share is {method.share:g}; it must be a number above 0")
    wanted = () if not method.kind else STAGES if method.is_looped else ("flags",)
    for key in ("flags", *STAGES):
        if getattr(method, key) and key not in wanted:
            raise ValueError(f"{place}: {key} changes nothing with this {given[0]}; leave it out")
    if method.kind:
        check_budget(place, method, plan)


def check_budget(place: str, method: Method, plan: Plan) -> None:
    """ValueError when the method cannot be given its budget."""
    if plan.budget is None:
        raise ValueError(f"{place} is to run and {plan.file} has no [budget]; give one of {', '.join(UNITS)}")
    if plan.strict and method.share != 1:
        raise ValueError(f"{place}: share {method.share:g} makes unequal budgets, which strict = true refuses")
    if method.is_looped and (plan.loop is None or plan.budget.unit != "tokens"):
        raise ValueError(f"{place}: kind {method.kind!r} needs the table [loop], and a [budget] in tokens")
    if method.is_looped and (found := set(",@") & set(str(plan.out / method.name))):
        raise ValueError(
            f"{place}: OpenRLHF reads the {found.pop()!r} of {plan.out / method.name} as the end of a name; rename it"
        )
    if method.is_looped and plan.budget_of(method).amount < plan.loop.iterations:
        raise ValueError(f"{place}: its budget is below a token an iteration ({plan.loop.iterations}); raise it")


def check_matching(plan: Plan) -> None:
    """ValueError for a method that cannot be matched to another one, whose first update tells what to match."""
    trained = {method.name: method for method in plan.methods if method.kind in TRAINED}
    if plan.match not in ("", "updates"):
        raise ValueError(f'{plan.file}: match is {plan.match!r}; it can be "updates", or be left out')
    if plan.match and plan.baseline not in trained:
        raise ValueError(
            f"{plan.file}: match needs updates of the baseline, and {plan.baseline} is not trained by train_ppo_ray; "
            "leave match out"
        )
    for method in plan.methods:
        place = f"{plan.file}, [methods.{method.name}]"
        if method.like and method.responses_of:
            raise ValueError(f"{place} has like and responses_of; give one of them")
        for key, name in (("like", plan.like_of(method)), ("responses_of", method.responses_of)):
            if not name:
                continue
            if method.name not in trained:
                raise ValueError(f"{place}: {key} changes nothing with this method; leave it out")
            if name not in trained or name == method.name:
                raise ValueError(f"{place}: {key} names {name!r}, which is no other method that train_ppo_ray trains")
            if trained[name].responses_of or (key == "like" and plan.like_of(trained[name])):
                raise ValueError(f"{place}: {key} names {name}, which is matched itself; name a method that is not")
