"""The data that page.js reads: problems, their visits, guidance and states of a visit, completions of a state."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypedDict

from openrlhf_marge.decoding import Decoder, added_texts, before_stop
from openrlhf_marge.grading import answer_of, gold_answer
from openrlhf_marge.report.reading import Row
from openrlhf_marge.rewards.batch import LOGGED

FAILURES = {f"grader_{reason}": reason for reason in LOGGED}
Groups = Sequence[tuple[Row, Sequence[Row]]]  # as report.reading.read_visits gives them


class CompletionData(TypedDict):
    text: str
    tokens: int
    answer: str | None  # as the package's grader reads it, whatever graded
    correct: bool
    truncated: bool
    reward: float
    advantage: float
    failure: str | None  # of the package's grader
    logs: dict[str, float]  # what else the reward function returned and is not 0
    weights: tuple[int, int]  # weight updates before the first and before the last token


class StateData(TypedDict):
    index: int
    tokens: int  # of the prefix
    value: float
    gain: float  # over the state before it
    completions: list[CompletionData]


class GuidanceData(TypedDict):
    correct: bool | None  # None where s_0 was sampled without guidance
    passRate: float | None
    visit: int | None
    pieces: list[str]  # s_0, what stands between states, and what follows the last one
    states: list[int]  # places in the visit's states


class VisitData(TypedDict):
    dump: str  # its folder, where there are several
    step: int
    candidates: bool  # sampled to find a first guidance, not trained on
    guidances: list[GuidanceData]
    states: list[StateData]


class ProblemData(TypedDict):
    id: str
    question: str
    prompt: str
    label: str
    gold: str  # what the label says
    visits: list[VisitData]


def visit_data(
    groups: Groups, decoder: Decoder, dump: str = "", candidates: bool = False, stop: Sequence[str] = ()
) -> VisitData:
    """One visit of a problem; ValueError when the decoder does not know its token ids.

    ``stop`` is the run's ``--marge.stop``.
    """
    rows = [row for row, _ in groups]
    guided = dict.fromkeys(row["guidance_ids"] for row in rows if row["guidance_id"] is not None)
    return VisitData(
        dump=dump,
        step=rows[0]["step"],
        candidates=candidates,
        guidances=[_guidance(ids, rows, decoder) for ids in guided] or [_no_guidance(rows[0], decoder)],
        states=[_state(row, completions, decoder, stop) for row, completions in groups],
    )


def _guidance(ids: tuple[int, ...], rows: Sequence[Row], decoder: Decoder) -> GuidanceData:
    """Its states are all prefixes of it: guidances of one visit share those of their common start."""
    states = [i for i, row in enumerate(rows) if ids[: len(row["prefix_ids"])] == row["prefix_ids"]]
    states.sort(key=lambda i: len(rows[i]["prefix_ids"]))
    own = next(row for row in rows if row["guidance_ids"] == ids)
    (pieces,) = added_texts(decoder, [(own["prompt_ids"], ids, [len(rows[i]["prefix_ids"]) for i in states])])
    return GuidanceData(
        correct=own["guidance_is_correct"],
        passRate=number(own["guidance_pass_rate"]),
        visit=own["guidance_visit"],
        pieces=pieces,
        states=states,
    )


def _no_guidance(s0: Row, decoder: Decoder) -> GuidanceData:
    ((text,),) = added_texts(decoder, [(s0["prompt_ids"], s0["prefix_ids"], ())])
    return GuidanceData(correct=None, passRate=None, visit=None, pieces=[text, ""], states=[0])


def _state(row: Row, completions: Sequence[Row], decoder: Decoder, stop: Sequence[str]) -> StateData:
    wanted, prefix = gold_answer(row["label"]), row["prefix_ids"]
    rewards = [c["reward"] for c in completions]
    texts = added_texts(decoder, [(row["prompt_ids"], prefix + c["token_ids"], [len(prefix)]) for c in completions])
    return StateData(
        index=row["state_index"],
        tokens=len(prefix),
        value=number(sum(rewards) / len(rewards)),
        gain=number(row["value_gain"]),
        completions=[
            _completion(c, text, answer_of(before + before_stop(text, stop), wanted))
            for c, (before, text) in zip(completions, texts, strict=True)
        ],
    )


def _completion(row: Row, text: str, answer: str | None) -> CompletionData:
    logs = {log["name"]: log["value"] for log in row["extra_logs"] if log["value"]}
    return CompletionData(
        text=text,
        tokens=len(row["token_ids"]),
        answer=answer,
        correct=row["is_correct"],
        truncated=row["truncated"],
        reward=number(row["reward"]),
        advantage=number(row["advantage"]),
        failure=next((reason for name, reason in FAILURES.items() if name in logs), None),
        logs={name: number(value) for name, value in logs.items() if name not in FAILURES},
        weights=(row["first_weight_version"], row["last_weight_version"]),
    )


def number(value: float) -> float | None:
    """With as many digits as a page can show; None for infinity and NaN, which JSON lacks."""
    return float(f"{value:.6g}") if math.isfinite(value) else None
