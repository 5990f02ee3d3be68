"""Rows by the values of the steps of a guidance: ``prm``, ``self_explore`` and ``step_dpo``.

Step j lies between the states j - 1 and j; the last one ends with the response, whose value is its own verdict.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

import pyarrow as pa

from openrlhf_marge.method.groups import StateGroup
from openrlhf_marge.pairs.base import FACTS, Draft, PairRows, Texts, VisitGroups, facts_of
from openrlhf_marge.pairs.outcomes import usable_ids
from openrlhf_marge.pairs.settings import PairSettings
from openrlhf_marge.seeds import generator
from openrlhf_marge.types import Guidance, TokenIds


class Path(NamedTuple):
    """A guidance with the groups of its states, from s_0 on."""

    guidance: Guidance
    groups: list[StateGroup]


def paths(visit: VisitGroups, left_out: Counter[str]) -> Iterator[Path]:
    """The whole guidances of a visit that have steps, each once; a state may belong to several of them."""
    guidances = dict.fromkeys(g.state.guidance for g in visit if g.state.guidance is not None)
    if not guidances:
        left_out["no_guidance"] += 1
    for guidance in guidances:
        ids = guidance.token_ids
        groups = [g for g in visit if ids[: len(g.state.prefix_ids)] == g.state.prefix_ids]
        if len(ids) >= visit[0].problem.max_response_tokens:  # its EOS, which is not kept, had no room
            left_out["truncated"] += 1
        elif len(groups) < 2:
            left_out["no_steps"] += 1
        else:
            yield Path(guidance, sorted(groups, key=lambda g: len(g.state.prefix_ids)))


class StepLabels:
    """Steps with the value of the state after each (Math-Shepherd), in TRL's stepwise form."""

    options = frozenset({"hard_labels"})
    trainer = None

    def schema(self, settings: PairSettings) -> pa.Schema:
        labels = pa.list_(pa.bool_() if settings.hard_labels else pa.float64())
        return pa.schema([("prompt", pa.string()), ("completions", pa.list_(pa.string())), ("labels", labels), *FACTS])

    def drafts(self, visit: VisitGroups, settings: PairSettings, left_out: Counter[str]) -> Iterator[Draft]:
        for guidance, groups in paths(visit, left_out):
            start = groups[0].state.prefix_ids
            values = [*(g.value for g in groups[1:]), float(guidance.is_correct)]
            labels = [v > 0 for v in values] if settings.hard_labels else values
            cuts = {0: tuple(len(g.state.prefix_ids) - len(start) for g in groups[1:])}
            rest = (guidance.token_ids[len(start) :],)
            yield Draft(group=groups[0], state_ids=start, responses=rest, cuts=cuts, facts={"labels": labels})

    def row(self, draft: Draft, texts: Texts, settings: PairSettings) -> dict[str, Any]:
        steps = dict(completions=list(texts.pieces[0]), labels=draft.facts["labels"])
        return dict(prompt=texts.prompt + texts.state) | steps | facts_of(draft.group)


def first_pits(visit: VisitGroups, settings: PairSettings, left_out: Counter[str]) -> Iterator[Draft]:
    """Pairs of a correct completion and the rest of an incorrect guidance from the last state before its first pit on.

    The first pit is the first step after which no completion is correct. What follows the last state leads to the
    wrong answer of the response, so there always is one, unless s_0 has no correct completion either.
    """
    for guidance, groups in paths(visit, left_out):
        solved = [any(c.is_correct for c in g.completions) for g in groups]
        pit = solved.index(False) if False in solved else len(groups)
        if guidance.is_correct:
            left_out["correct_guidance"] += 1
        elif pit == 0:
            left_out["no_correct_start"] += 1
        elif correct := usable_ids(groups[pit - 1], settings, left_out, is_correct=True):
            chosen = generator(settings.seed, groups[pit - 1].id).choice(correct)
            yield _pit_draft(Path(guidance, groups), pit, chosen, settings.eos_id)
        else:
            left_out["one_outcome"] += 1


def _pit_draft(path: Path, pit: int, chosen: TokenIds, eos_id: int) -> Draft:
    """Both responses are cut before EOS and after as many tokens as the wrong step has."""
    guidance, groups = path
    start = groups[pit - 1].state.prefix_ids
    rejected = (*guidance.token_ids[len(start) :], eos_id)
    is_last = pit == len(groups)
    step = len(rejected) - 1 if is_last else len(groups[pit].state.prefix_ids) - len(start)
    responses, facts = (chosen, rejected), {"is_last": is_last}
    cuts = {i: (min(step, len(ids) - 1), len(ids) - 1) for i, ids in enumerate(responses)}
    return Draft(group=groups[pit - 1], state_ids=start, responses=responses, cuts=cuts, facts=facts)


class FirstPits(PairRows):
    """The rest of an incorrect response from its first pit on, against a correct way on (Self-Explore)."""

    options = frozenset()
    drafts = staticmethod(first_pits)


class StepPairs:
    """The one step that goes wrong against a right one, in the columns that Step-DPO published."""

    options = frozenset({"step_label", "dataset"})
    trainer = None
    drafts = staticmethod(first_pits)

    def schema(self, settings: PairSettings) -> pa.Schema:
        columns = "dataset prompt initial_reason_steps chosen rejected full_chosen full_rejected answer"
        return pa.schema([(name, pa.string()) for name in columns.split()])

    def row(self, draft: Draft, texts: Texts, settings: PairSettings) -> dict[str, Any] | str:
        """Texts without EOS; full ones start with the step."""
        full_chosen, full_rejected = ("".join(pieces[:-1]) for pieces in texts.pieces)
        chosen, rejected = _steps(draft, texts, settings.step_label)
        if chosen == rejected:  # the completion was saved by a later step
            return "same"
        return dict(
            dataset=settings.dataset, prompt=texts.prompt, initial_reason_steps=texts.state, chosen=chosen,
            rejected=rejected, full_chosen=full_chosen, full_rejected=full_rejected, answer=draft.group.problem.label,
        )  # fmt: skip


def _steps(draft: Draft, texts: Texts, step_label: str) -> tuple[str, str]:
    """The right and the wrong step: up to the label of the next one, or as many tokens where states end at none."""
    (chosen, *rest), (rejected, *_) = texts.pieces
    labels = _labels(step_label, rejected)
    at_label = bool(labels) and labels[-1].end() >= len(rejected.rstrip())
    if not at_label and not draft.facts["is_last"]:
        return chosen, rejected
    # Thinned states lie several labels apart; the last step ends with the response, without a label.
    count = len(labels) + draft.facts["is_last"]
    full = "".join([chosen, *rest[:-1]])
    following = _labels(step_label, full)
    right = full[: following[count - 1].start()] if len(following) >= count else full
    return right, rejected if draft.facts["is_last"] else rejected[: labels[-1].start()]


def _labels(step_label: str, text: str) -> list[re.Match]:
    """All but empty ones, as ``split_by_steps`` has it."""
    return [m for m in re.finditer(step_label, text) if m.end() > m.start()]
