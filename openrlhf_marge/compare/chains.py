"""Methods that start from the model which another one has trained (``starts_from``): their order, what cannot be."""

from __future__ import annotations

from collections.abc import Sequence

from openrlhf_marge.compare.file_parts import Method
from openrlhf_marge.compare.plan import Plan


def check_chains(plan: Plan) -> None:
    """ValueError for a method that cannot start from what it names."""
    chained = [(f"{plan.file}, [methods.{method.name}]", method) for method in plan.methods if method.starts_from]
    for place, method in chained:
        if not method.kind:
            key = "run" if method.run else "model"
            raise ValueError(f"{place}: starts_from changes nothing with this {key}; leave it out")
        if method.starts_from not in plan.by_name:
            known = ", ".join(plan.by_name)
            raise ValueError(f"{place}: starts_from names {method.starts_from!r}, which is none of {known}")
    for place, method in chained:
        check_chain(place, method, plan)


def check_chain(place: str, method: Method, plan: Plan) -> None:
    """ValueError naming the method's table, and what to do."""
    chain = [m.name for m in plan.chain_of(method)]
    if again := plan.by_name[chain[0]].starts_from:
        circle = " -> ".join([*chain[: chain.index(again) + 1], chain[0]])
        raise ValueError(f"{place}: {circle} start from each other in a circle; let one of them start from a model")
    before = plan.by_name[method.starts_from]
    if before.model:
        raise ValueError(
            f"{place}: starts_from names {before.name}, of whose model no tokens are known; give the folder of its run"
        )
    if before.kind and method.share <= before.share:
        raise ValueError(
            f"{place}: share is {method.share:g} of the budget for both, and {before.name} has {before.share:g}; "
            "raise the first or lower the second"
        )
    if plan.marks:
        raise ValueError(f"{place}: marks are shares of one run's way, and starts_from makes it two; leave one out")


def check_unmatched(plan: Plan) -> None:
    """ValueError where a pilot would have to start from a model that is not there yet."""
    chained = {method.name for method in plan.methods if method.starts_from}
    for method in plan.methods:
        for key, name in (("like", plan.like_of(method)), ("responses_of", method.responses_of)):
            if name and (both := sorted({method.name, name} & chained)):
                asked = key if getattr(method, key) else "match"
                raise ValueError(
                    f"{plan.file}, [methods.{method.name}]: {asked} needs a first update of {both[0]} before any run, "
                    f"and {plan.by_name[both[0]].starts_from} trains its model; leave {asked} or starts_from out"
                )


def told(chain: Sequence[Method]) -> str:
    """What a table says after the name of the last method of a chain; "" for one that starts from a base model."""
    return f" (after {', '.join(method.name for method in chain[:-1])})" if len(chain) > 1 else ""
