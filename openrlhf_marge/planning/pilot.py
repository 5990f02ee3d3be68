"""A pilot: what a few problems brought, from a dump of a training or the folder of an exploration."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from openrlhf_marge.data.dump import candidates_path, dump_files, read_groups
from openrlhf_marge.planning.devices import method_of
from openrlhf_marge.planning.visits import SampledState, SampledVisit
from openrlhf_marge.runs.folder import explored_with, flag_values
from openrlhf_marge.runs.summary import find_summary
from openrlhf_marge.types import StateGroup

MOST_VISITS = 2000  # that are read
# Flags by which tokens differ, where OpenRLHF and cli.explore have the same ones.
ALIKE = (
    "--data.apply_chat_template", "--data.input_template", "--data.max_len", "--rollout.max_new_tokens",
    "--marge.explore", "--marge.guidance_source", "--marge.guide_when", "--marge.n_guidances", "--marge.split",
    "--marge.n_states", "--marge.max_states", "--marge.step_label", "--marge.state_budget",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True, eq=False)
class Pilot:
    """``first`` are the visits of problems that were not visited before, ``later`` the others; bytes are of files."""

    name: str
    first: tuple[SampledVisit, ...]
    later: tuple[SampledVisit, ...] = ()
    bytes_per_token: float | None = None  # of the dump, per sampled token
    prompt: str = ""  # of the first visit


def read_pilot(folder: Path) -> Pilot:
    """The visits of a dump; ValueError when there are none."""
    visits: list[SampledVisit] = []
    size = tokens = 0
    for path in dump_files(folder):
        there = [path] + ([candidates_path(path)] if candidates_path(path).is_file() else [])
        of_file = list(visits_of(*map(read_groups, there)))
        size += sum(file.stat().st_size for file in there)
        tokens += sum(sum(s.lengths) for v in of_file for s in (*v.states, *v.untrained))
        visits += of_file
        if len(visits) >= MOST_VISITS:
            break
    first: dict[str, SampledVisit] = {}
    later = [visit for visit in visits if first.setdefault(visit.problem, visit) is not visit]
    if not any(visit.states for visit in visits):
        raise ValueError(f"--pilot {folder} has no completion that is trained on; explore more problems")
    return Pilot(
        name=str(folder), first=tuple(first.values()), later=tuple(later), bytes_per_token=size / tokens,
        prompt=visits[0].text,
    )  # fmt: skip


def visits_of(trained: Iterator[StateGroup], untrained: Iterator[StateGroup] = iter(())) -> Iterator[SampledVisit]:
    """The visits of a file in their order, with what was sampled for them and is not trained on.

    Problems that brought candidates alone come last.
    """
    aside: dict[str, list[SampledState]] = {}
    for group in untrained:
        aside.setdefault(group.problem.id, []).append(_state(group, is_trained=False))
    texts: dict[str, str] = {}

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
    )


def check_pilot(pilot: Pilot, args: Any, vocab: int) -> None:
    """ValueError where the pilot is of another model, or of flags by which its tokens are others."""
    groups = [state for visit in pilot.first for state in (*visit.states, *visit.untrained)]
    if (largest := max(int(ids.max()) for s in groups for ids in (s.context, *s.completions))) >= vocab:
        raise ValueError(
            f"--pilot {pilot.name} has the token id {largest} and --actor.model_name_or_path {vocab} tokens, so it is "
            "of another model; give a pilot of this one"
        )
    longest = max(len(s.context) + max(s.lengths) for s in groups)
    if longest > args.data.max_len:
        raise ValueError(
            f"--pilot {pilot.name} has {longest} tokens of prompt and response, more than --data.max_len "
            f"{args.data.max_len}; give a pilot with this launch's flags"
        )
    config = method_of(args)
    if config is None:
        return
    has_s0 = all(state.prefix for visit in pilot.first for state in visit.states)
    wants_s0 = config.split == "step" and bool(config.cot_prefix)
    if has_s0 != wants_s0:
        raise ValueError(
            f"--pilot {pilot.name} was sampled {'with' if has_s0 else 'without'} --marge.cot_prefix, the launch is "
            f"{'with' if wants_s0 else 'without'} it; give a pilot with this launch's --marge.split"
        )
    check_flags(Path(pilot.name), args)


def check_prompt(pilot: Pilot, encode: Callable[[str], Sequence[int]]) -> None:
    """ValueError where the model's tokenizer makes other tokens of the pilot's first prompt, so of another model."""
    visit = pilot.first[0]
    if pilot.prompt and list(encode(pilot.prompt)) != visit.prompt.tolist():
        raise ValueError(
            f"--pilot {pilot.name} is of another model, whose first prompt {pilot.prompt[-40:]!r} the tokenizer of "
            "--actor.model_name_or_path encodes as other tokens; give a pilot of this model"
        )


def check_flags(folder: Path, args: Any) -> None:
    """ValueError naming a flag that differs, where settings.json or the run's summary.json tells the pilot's flags."""
    told = explored_with(folder) or flag_values(find_summary(folder.parent).training_flags)
    if not told:
        return
    model = told.get("--actor.model_name_or_path", "")
    if Path(model).name != Path(args.actor.model_name_or_path).name:
        raise ValueError(
            f"--pilot {folder} is of --actor.model_name_or_path {model}, the launch of "
            f"{args.actor.model_name_or_path}; give a pilot of this model"
        )
    for flag in ALIKE:
        if flag in told and not _same(told[flag], here := _value(args, flag)):
            raise ValueError(
                f"--pilot {folder} was sampled with {flag} {told[flag]}, the launch has {here}; give a pilot with this "
                "launch's flags"
            )


def _value(args: Any, flag: str) -> Any:
    group, name = flag.removeprefix("--").split(".", 1)
    return getattr(getattr(args, group), name)


def _same(told: str, here: Any) -> bool:
    """A switch is told as ""."""
    if isinstance(here, bool):
        return here == (told in ("", "True"))
    return told == ("" if here is None else str(here))


def later_visits(pilot: Pilot, repeats: bool) -> tuple[SampledVisit, ...]:
    """The visits after the first episode, as far as the pilot tells: its own, or the first ones without candidates.

    Where the exploration samples what it does not train on at every visit (``repeats``), nothing is left out.
    """
    if pilot.later or repeats:
        return pilot.later or pilot.first
    return tuple(
        SampledVisit(problem=v.problem, states=v.states) if v.states else v for v in pilot.first
    )  # fmt: skip
