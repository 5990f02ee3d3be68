"""A pilot: what a few problems brought, from a dump of a training or the folder of an exploration."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from openrlhf_marge.data.dump import candidates_path, dump_files
from openrlhf_marge.data.dump_reading import read_groups
from openrlhf_marge.method.groups import StateGroup
from openrlhf_marge.planning.visits import SampledState, SampledVisit
from openrlhf_marge.seeds import stable_hash

MOST_VISITS = 2000  # that are read


@dataclass(frozen=True, kw_only=True, eq=False)
class Pilot:
    """``first`` are the visits of problems that were not visited before, ``later`` the others; bytes are of files."""

    name: str
    first: tuple[SampledVisit, ...]
    later: tuple[SampledVisit, ...] = ()
    bytes_per_token: float | None = None  # of the dump, per sampled token
    prompt: str = ""  # of the first visit
    is_assumed: bool = False  # made from mean lengths


def read_pilot(folder: Path) -> Pilot:
    """The visits of a dump; ValueError when there are none."""
    visits: list[SampledVisit] = []
    size = tokens = 0
    for path in dump_files(folder):
        there = files_of(path)
        of_file = list(visits_of(*map(read_groups, there)))
        size += sum(file.stat().st_size for file in there)
        tokens += sum(sum(s.lengths) for v in of_file for s in (*v.states, *v.untrained))
        visits += of_file
        if len(visits) >= MOST_VISITS:
            break
    # A file has problems without guidance last; any run of the visits shall have about as many of each kind.
    visits.sort(key=lambda visit: stable_hash(visit.problem))
    first: dict[str, SampledVisit] = {}
    later = [visit for visit in visits if first.setdefault(visit.problem, visit) is not visit]
    if not any(visit.states for visit in visits):
        raise ValueError(f"--pilot {folder} has no completion that is trained on; explore more problems")
    return Pilot(
        name=str(folder), first=tuple(first.values()), later=tuple(later), bytes_per_token=size / tokens,
        prompt=visits[0].text,
    )  # fmt: skip


def files_of(path: Path) -> list[Path]:
    """A rollout's file, and that of what it did not train on, where there is one."""
    return [file for file in (path, candidates_path(path)) if file.is_file()]


def visits_of(trained: Iterable[StateGroup], untrained: Iterable[StateGroup] = ()) -> Iterator[SampledVisit]:
    """The visits of a file in their order, with what was sampled for them and is not trained on.

    Problems that brought candidates alone come last.
    """
    aside: dict[str, list[SampledState]] = {}
    texts: dict[str, str] = {}
    for group in untrained:
        aside.setdefault(group.problem.id, []).append(_state(group, is_trained=False))
        texts[group.problem.id] = group.problem.prompt

    def visit(problem: str, states: Sequence[SampledState]) -> SampledVisit:
        beside = tuple(aside.pop(problem, ()))
        return SampledVisit(problem=problem, states=tuple(states), untrained=beside, text=texts.get(problem, ""))

    problem, states = "", []
    for group in trained:
        if group.state.index == 0 and states:
            yield visit(problem, states)
            states = []
        problem = group.problem.id
        texts[problem] = group.problem.prompt
        states.append(_state(group, is_trained=True))
    if states:
        yield visit(problem, states)
    for problem in list(aside):
        yield visit(problem, ())


def _state(group: StateGroup, is_trained: bool) -> SampledState:
    def ids(completions: Sequence[Any]) -> tuple[np.ndarray, ...]:
        return tuple(np.array(c.token_ids, dtype=np.int64) for c in completions)

    return SampledState(
        context=np.array([*group.problem.prompt_ids, *group.state.prefix_ids], dtype=np.int64),
        prefix=len(group.state.prefix_ids),
        completions=ids(group.completions),
        trained=ids(group.trained) if is_trained else (),
        has_signal=group.has_signal,
        has_credit=group.state.segment > 0 and group.value_gain != 0,
    )


def later_visits(pilot: Pilot, repeats: bool) -> tuple[SampledVisit, ...]:
    """The visits after the first episode, as far as the pilot tells: its own, or the first ones without candidates.

    Where the exploration samples what it does not train on at every visit (``repeats``), nothing is left out.
    """
    if pilot.later or repeats:
        return pilot.later or pilot.first
    return tuple(
        SampledVisit(problem=v.problem, states=v.states) if v.states else v for v in pilot.first
    )  # fmt: skip
