"""What builders get and give. A builder works on token ids and never on text: texts are made, and checked, later.

Another package may bring its own ``Builder``, see EXTENDING.md.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import pyarrow as pa

from openrlhf_marge.method.groups import StateGroup
from openrlhf_marge.pairs.settings import PairSettings
from openrlhf_marge.types import TokenIds

VisitGroups = tuple[StateGroup, ...]  # the groups of one visit of one problem, s_0 first

# Why something is no row: name -> what is counted under it. A builder of one's own may count under further names.
REASONS = {
    "value_out_of_range": "states with a share of correct completions outside --min_value to --max_value",
    "one_outcome": "states with usable completions of one kind of outcome only",
    "not_closest": "states that lie farther from 0.5 than another one of their visit (--closest_only)",
    "truncated": "completions or guidances that the length limit stopped, which have no EOS",
    "no_eos": "completions that do not end with the tokenizer's one EOS (or have a stop text within a token)",
    "no_correct": "states without a correct completion that can be a row",
    "no_guidance": "visits without guidance",
    "no_steps": "responses without steps: their only state is s_0",
    "correct_guidance": "guidances that are correct, so that no step of them is the first wrong one",
    "no_correct_start": "incorrect guidances without a correct completion of s_0, so that every step is too late",
    "no_search": "visits without a tree search (--marge.explore mcts_dpo)",
    "wrong_path": "searches whose path ends with a wrong answer, or before an answer",
    "same_q": "pairs of steps of the same Q, none of which is better",
    "never_solved": "pairs whose better step has no correct way on",
    "same": "pairs whose two responses, or steps, are the same",
    "too_long": "rows longer than --max_len",
    "prompt_text": "rows whose prompt text does not give the ids again that the model read",
    "response_text": "rows whose response text does not give the ids again that the model sampled",
    "duplicate": "exact duplicates of an earlier row",
    "repeated": "visits that stand in the dumps again, as of a file that was copied or a folder given twice",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A row in token ids: responses to ``problem.prompt_ids + state_ids``."""

    group: StateGroup  # whose problem, state index and value the row tells
    state_ids: TokenIds
    responses: tuple[TokenIds, ...]
    cuts: Mapping[int, tuple[int, ...]] = field(default_factory=dict)  # response -> where its text is cut, ascending
    facts: Mapping[str, Any] = field(default_factory=dict)  # columns that need no tokenizer


@dataclass(frozen=True, slots=True, kw_only=True)
class Texts:
    """The texts of a draft; all pieces of a response joined are its text."""

    prompt: str  # x as the model saw it
    state: str
    pieces: tuple[tuple[str, ...], ...]  # per response

    def response(self, index: int) -> str:
        return "".join(self.pieces[index])


@dataclass(frozen=True, slots=True)
class Trainer:
    """A command of OpenRLHF that trains on rows, and its flags for their columns."""

    module: str
    data_flags: tuple[str, ...]
    needs_patches: bool = False  # stock OpenRLHF would read the rows, and not all of their columns


# Prompts are as the model saw them: the data sets add no chat template, and train_sft none of its own either.
DPO = Trainer(
    "openrlhf.cli.train_dpo",
    ("--data.prompt_key", "prompt", "--data.chosen_key", "chosen", "--data.rejected_key", "rejected"),
)
# For rows with columns of patches/0014, by which a row brings its own label smoothing, and goes without EOS.
DPO_OWN = Trainer(DPO.module, DPO.data_flags, needs_patches=True)
SFT = Trainer(
    "openrlhf.cli.train_sft",
    ("--data.input_key", "prompt", "--data.output_key", "response", "--data.input_template", ""),
)


class Builder(Protocol):
    """One ``--kind``; the same object builds all rows of a run, so it must keep nothing between visits."""

    options: frozenset[str]  # the fields of PairSettings that it reads, beside eos_id, seed and max_len
    trainer: Trainer | None  # what trains on its rows; one that is installed may leave this out
    # One that reads ``extra_logs`` of completions, which are slow to read, also has ``reads_logs = True``.

    def schema(self, settings: PairSettings) -> pa.Schema:
        """The columns of its rows."""

    def drafts(self, visit: VisitGroups, settings: PairSettings, left_out: Counter[str]) -> Iterator[Draft]:
        """Rows of a visit, chosen by generators seeded with ``settings.seed`` and a group's id alone."""

    def row(self, draft: Draft, texts: Texts, settings: PairSettings) -> dict[str, Any] | str:
        """The row of a draft whose texts have been checked, or the reason to count it under as left out."""


FACTS = [
    ("problem_id", pa.string()),
    ("state_index", pa.int32()),
    ("value", pa.float64()),  # mean reward of the state's completions
    ("label", pa.string()),  # the gold answer
]
PAIR_SCHEMA = pa.schema([("prompt", pa.string()), ("chosen", pa.string()), ("rejected", pa.string()), *FACTS])


def facts_of(group: StateGroup) -> dict[str, Any]:
    """The columns that every kind but step_dpo ends with."""
    problem = group.problem
    return dict(problem_id=problem.id, state_index=group.state.index, value=group.value, label=problem.label)


class PairRows:
    """Schema and rows of the kinds that RewardDataset reads; the responses are chosen and rejected."""

    trainer = DPO

    def schema(self, settings: PairSettings) -> pa.Schema:
        return PAIR_SCHEMA

    def row(self, draft: Draft, texts: Texts, settings: PairSettings) -> dict[str, Any]:
        prompt = texts.prompt + texts.state
        return dict(prompt=prompt, chosen=texts.response(0), rejected=texts.response(1)) | facts_of(draft.group)


def unfit_end(ids: TokenIds, settings: PairSettings) -> str | None:
    """The reason to leave a completion out that does not end with the tokenizer's EOS, or holds it before its end."""
    if settings.eos_id in ids and ids.index(settings.eos_id) == len(ids) - 1:
        return None
    if ids and ids[-1] in settings.other_eos:
        return f"completions that ended with another EOS, {ids[-1]} {settings.other_eos[ids[-1]]!r}"
    return "no_eos"
