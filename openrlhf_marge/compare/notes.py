"""Writes the sentences under the tables: what the numbers rest on, and what was not equal."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from openrlhf_marge.compare.kinds import TRAINED
from openrlhf_marge.compare.launch_notes import launch_notes
from openrlhf_marge.compare.plan import Plan, PlannedRun
from openrlhf_marge.compare.results import Results
from openrlhf_marge.compare.statistics import LEVEL, of_seed, t_quantile
from openrlhf_marge.runs.marks import mark_name
from openrlhf_marge.runs.progress import UNITS, ProgressPoint


def unequal(plan: Plan, used: Sequence[tuple[PlannedRun, Sequence[ProgressPoint]]]) -> list[str]:
    """A sentence for every run that used more or less than its budget, by more than the tolerance."""
    sentences = []
    for run, points in used if plan.budget else ():
        budget = plan.budget_of(run.method)
        ratio = budget.used(points[-1]) / budget.amount
        if abs(ratio - 1) > plan.tolerance:
            sentences.append(
                f"{run} used {budget.used(points[-1]):,.0f} {UNITS[budget.unit]}, {abs(ratio - 1):.0%} "
                f"{'more' if ratio > 1 else 'less'} than its budget of {budget.amount:,.0f}.".replace("%", " %")
            )
    return sentences


def mark_notes(plan: Plan, used: Sequence[tuple[PlannedRun, Sequence[ProgressPoint]]]) -> list[str]:
    """What a mark is, and a sentence for every model that was kept farther from it than the tolerance."""
    if not plan.marks:
        return []
    shares = ", ".join(mark_name(mark) for mark in plan.marks)
    rule = "the model is that of the update after which another like it would have ended farther away"
    sentences = [f"At {shares} % of the budget {rule}."]
    for run, points in used if plan.budget else ():
        for mark in plan.marks:
            part = plan.budget_of(run.method).at(mark)
            there = part.used_when_met(points)
            if abs(there / part.amount - 1) > plan.tolerance:
                sentences.append(
                    f"{run} had used {there:,.0f} {UNITS[part.unit]} at its mark of {mark_name(mark)} %, which is "
                    f"{part.amount:,.0f}."
                )
    return sentences


def chain_notes(plan: Plan, used: Sequence[tuple[PlannedRun, Sequence[ProgressPoint]]]) -> list[str]:
    """A sentence for every run that started from another one's model."""
    budget, sentences = plan.budget, []
    for run, points in used:
        if run.start and budget:
            sentences.append(
                f"{run} starts from the model of {run.start.name}; what it used is that of both, "
                f"{budget.used(run.before):,.0f} of the {budget.used(points[-1]):,.0f} {UNITS[budget.unit]} before it."
            )
    return sentences


def short_rollouts(used: Sequence[tuple[PlannedRun, Sequence[ProgressPoint]]]) -> list[str]:
    """A sentence for every run of a method of OpenRLHF's own in which some rollouts were smaller than the others.

    It is the last rollout of an episode whose problems fill no whole number of them.
    """
    sentences = []
    for run, points in used:
        if "--algo.advantage.estimator" not in TRAINED.get(run.method.kind, ()):
            continue  # ours keeps what fills no batch for the next one
        sizes = [now - before for before, now in pairwise([run.before.samples, *(point.samples for point in points)])]
        if few := sum(size < max(sizes) for size in sizes):
            sentences.append(
                f"{run}: {few} of its {len(sizes)} rollouts were smaller than the others, for which OpenRLHF takes "
                "fewer optimizer steps; with --data.max_samples a multiple of --rollout.batch_size none would be."
            )
    return sentences


def notes(results: Results) -> list[str]:
    """The sentences under the tables."""
    plan = results.plan
    said = [_seed_note(plan), *_single_notes(results), *_several_notes(results), *_problem_notes(results)]
    if plan.budget:
        said.append(f"Budget of a run: {plan.budget.amount:,.0f} {UNITS[plan.budget.unit]}.")
    said += [f"{m.name} has {m.share:g} of the budget." for m in plan.methods if m.share != 1]
    said += [f"{m.name} is evaluated with {m.evaluate.strip()} besides." for m in plan.methods if m.evaluate.strip()]
    said += chain_notes(plan, results.used)
    kinds = {run.method.is_looped for run, _ in results.used}
    if len(kinds) > 1:
        said.append("Seconds of loops include the start of every stage and the saving of its model, others do not.")
    used = results.used
    return [*said, *unequal(plan, used), *short_rollouts(used), *mark_notes(plan, used), *launch_notes(plan)]


def _seed_note(plan: Plan) -> str:
    n = len(plan.seeds)
    if n == 1:
        return (
            f"One seed ({plan.seeds[0]}): there is no standard error, and the intervals are over problems alone; what "
            "another seed would bring they do not say."
        )
    return (
        f"Means over the seeds {', '.join(map(str, plan.seeds))} and their standard errors; t intervals of the "
        f"differences seed by seed, {t_quantile(n):.1f} standard errors of {n} seeds to each side, and wider for "
        "problems that the seeds share."
    )


def _single_notes(results: Results) -> list[str]:
    """Methods with one run for all seeds, of which nothing is known over seeds."""
    single = [name for name, of_method in results.scores.items() if len(of_method[results.columns[0]]) == 1]
    if len(results.plan.seeds) == 1 or not single:
        return []
    between = "; intervals between two of them are over problems alone" if len(single) > 1 else ""
    return [f"One run stands for all seeds, and varies with none, of {', '.join(single)}{between}."]


def _several_notes(results: Results) -> list[str]:
    """What an interval says when there are several."""
    compared = len(results.scores) - 1
    if compared < 2:
        return []
    return [
        f"Each interval holds for itself: with {compared} to look at, one of them leaves 0 out by chance in more than "
        f"{100 * (1 - LEVEL):.0f} % of tables. * marks what is left when a column's are asked all at once (Holm)."
    ]


def _problem_notes(results: Results) -> list[str]:
    """Data sets of which runs with one seed answered different problems."""
    notes = []
    for data in dict.fromkeys(data for data, _ in results.columns):
        column = next(column for column in results.columns if column[0] == data)
        answered = {name: of_method[column] for name, of_method in results.scores.items()}
        if any(len({of_seed(runs, seed).problems for runs in answered.values()}) > 1 for seed in results.plan.seeds):
            counts = {name: sum(len(s.problems) for s in runs.values()) / len(runs) for name, runs in answered.items()}
            found = ", ".join(f"{name} {count:g}" for name, count in counts.items())
            notes.append(f"{data}: not all answered the same problems ({found}); differences are over common ones.")
    return notes
