"""Batch sizes that make methods alike beyond their total: by update, or by responses per problem."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from math import gcd, lcm

from openrlhf_marge.compare.commands import launch_flags, words_of
from openrlhf_marge.compare.file_parts import Method
from openrlhf_marge.compare.pilots import Pilot
from openrlhf_marge.compare.plan import Plan, PlannedRun
from openrlhf_marge.compare.sizes import BATCH, PROBLEMS, RESPONSES, given_sizes, sizes_of


def matched(plan: Plan, pilot_of: Callable[[Method], Pilot]) -> tuple[Plan, list[str]]:
    """The plan with the sizes that its methods ask for, and a sentence for each of these; pilots only where needed."""
    names = {method.name: method for method in plan.methods}
    methods, said = [], []
    for method in plan.methods:
        if method.responses_of:
            change = of_responses(plan, method, pilot_of(names[method.responses_of]))
        elif like := plan.like_of(method):
            change = of_updates(plan, method, pilot_of(method), like, pilot_of(names[like]))
        else:
            methods.append(method)
            continue
        methods.append(change.applied(method))
        said.append(change.sentence(method, own_sizes(plan, method)))
    return replace(plan, methods=tuple(methods)), said


def is_matched(plan: Plan) -> bool:
    """Whether pilots have something to tell."""
    return any(method.responses_of or plan.like_of(method) for method in plan.methods)


@dataclass(frozen=True)
class Change:
    """Flags and their values, and why."""

    flags: Mapping[str, int]
    reason: str

    def applied(self, method: Method) -> Method:
        """The method's own flags come later, so they win."""
        words = " ".join(f"{flag} {value}" for flag, value in self.flags.items())
        return replace(method, flags=f"{words} {method.flags}".strip())

    def sentence(self, method: Method, own: Mapping[str, int]) -> str:
        """In plain words, with the flags that the method gives itself."""
        kept = " and ".join(f"{flag} {own[flag]}" for flag in self.flags if flag in own)
        return f"{method.name} {self.reason}.{f' It keeps {kept}, its own.' if kept else ''}"


def own_sizes(plan: Plan, method: Method) -> dict[str, int]:
    """The sizes among the method's own flags."""
    return given_sizes(words_of(plan, "flags", method.flags, plan.seeds[0]))


def sizes(plan: Plan, method: Method) -> dict[str, int]:
    """All sizes of the method's launch."""
    run = PlannedRun(method=method, seed=plan.seeds[0], folder=plan.out / method.name)
    return sizes_of(launch_flags(plan, run))


def of_responses(plan: Plan, method: Method, pilot: Pilot) -> Change:
    """The paper's protocol (Sec. 4.3.2): a baseline gets as many responses per query as the method samples.

    Rounded so that a rollout fills whole training batches, as OpenRLHF trains on nothing else.
    """
    there = sizes(plan, method)
    step = there[BATCH] // gcd(there[BATCH], there[PROBLEMS])
    n = step * max(1, round(pilot.responses_per_problem / step))
    return Change(
        {RESPONSES: n},
        f"has {RESPONSES} {n}, as {method.responses_of} samples {pilot.responses_per_problem:.1f} completions a "
        "problem in its first update, candidates included (rounded to whole training batches)",
    )


def of_updates(plan: Plan, method: Method, pilot: Pilot, like: str, other: Pilot) -> Change:
    """Problems of a rollout and samples of an optimizer step, so that tokens and steps of an update are the other's.

    In whole groups and micro-batches: of S completions that the other's tokens pay for, k steps an epoch take batches
    of S / k, rounded, and the problems are those that fill k batches.
    """
    there, own = sizes(plan, method), own_sizes(plan, method)
    ranks = there["--actor.num_nodes"] * there["--actor.num_gpus_per_node"]
    ranks = max(1, ranks // there["--ds.ring_attn_size"] // there["--ds.tensor_parallel_size"])
    micro = [ranks * there[f"--{kind}.micro_batch_size"] for kind in ("train", "rollout")]
    unit, epochs, per_problem = (
        lcm(there[RESPONSES], *micro),
        there["--train.max_epochs"],
        pilot.completions_per_problem,
    )
    steps = max(1, round(other.optimizer_steps / epochs))
    affordable = own.get(PROBLEMS, other.tokens / pilot.tokens_per_problem)
    batch = own.get(BATCH, unit * max(1, round(affordable * per_problem / steps / unit)))
    wanted = affordable if BATCH in own else steps * batch / per_problem
    problems = own.get(PROBLEMS, max(1, round(wanted)))
    tokens, taken = problems * pilot.tokens_per_problem, problems * per_problem / batch * epochs
    return Change(
        {PROBLEMS: problems, BATCH: batch},
        f"has {PROBLEMS} {problems} and {BATCH} {batch}, by first updates: {tokens:,.0f} tokens and {taken:.1f} "
        f"optimizer steps an update, where {like} has {other.tokens:,} and {other.optimizer_steps}",
    )
