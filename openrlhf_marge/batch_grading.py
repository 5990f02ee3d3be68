"""A reward request as OpenRLHF makes it (queries, prompts, labels) -> rewards and what is logged with them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from openrlhf_marge.grading import REASONS, Grade, grade, response_of
from openrlhf_marge.grading_guard import GraderGuard

LOGGED = tuple(reason for reason in REASONS if reason not in ("correct", "wrong"))  # the reward tells these two


def grade_batch(
    queries: Sequence[str], prompts: Sequence[str], labels: Sequence[str], guard: GraderGuard
) -> tuple[list[float], dict[str, list[float]]]:
    """Rewards, and indicators named ``grader_<reason>``: one number per query in each list, 0.0 or 1.0.

    ValueError as ``responses_of``, RuntimeError when the guard finds the grader broken.
    """
    responses = responses_of(queries, prompts, labels)
    golds = [str(label) for label in labels]
    grades = _grades(responses, golds)
    for verdict, response, gold in zip(grades, responses, golds, strict=True):
        guard.record(verdict, response, gold)
    logs = {f"grader_{reason}": [float(g.reason == reason) for g in grades] for reason in LOGGED}
    return [float(g.correct) for g in grades], logs


def responses_of(queries: Sequence[str], prompts: Sequence[str], labels: Sequence[str]) -> list[str]:
    """The responses without their prompts, where answers may stand, too.

    ValueError when the three differ in length, a label is empty, or a query does not start with its prompt.
    """
    if not len(queries) == len(prompts) == len(labels):
        raise ValueError(
            f"got {len(queries)} queries, {len(prompts)} prompts and {len(labels)} labels; there must be one prompt "
            "and one label per query"
        )
    if any(label is None or not str(label).strip() for label in labels):
        raise ValueError("a label is empty; set --data.label_key to the column of the gold answers, and fill it")
    return [response_of(query, prompt) for query, prompt in zip(queries, prompts, strict=True)]


def _grades(responses: Sequence[str], golds: Sequence[str]) -> list[Grade]:
    """In threads where there are several: a verdict may have to wait for a worker process."""
    if len(responses) < 2:
        return [grade(response, gold) for response, gold in zip(responses, golds, strict=True)]
    with ThreadPoolExecutor(min(len(responses), os.cpu_count() or 1)) as threads:
        return list(threads.map(grade, responses, golds))
