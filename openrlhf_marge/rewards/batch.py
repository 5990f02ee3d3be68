"""A reward request as OpenRLHF makes it (queries, prompts, labels) -> rewards and what is logged with them."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from openrlhf_marge.grading import REASONS, Grade, grade, response_of
from openrlhf_marge.grading.shared import shared_pool
from openrlhf_marge.rewards.guard import GraderGuard

LOGGED = tuple(reason for reason in REASONS if reason not in ("correct", "wrong"))  # the reward tells these two
WAITED = "grader_wait_seconds"


def grade_batch(
    queries: Sequence[str], prompts: Sequence[str], labels: Sequence[str], guard: GraderGuard
) -> tuple[list[float], dict[str, list[float]]]:
    """Rewards, and one number per query in each list of the logs.

    These are indicators named ``grader_<reason>``, 0.0 or 1.0, and ``grader_wait_seconds``, for which an answer waited
    until a process was free to compare it. ValueError as ``responses_of``, RuntimeError when the guard finds the
    grader broken or there is none.
    """
    responses = responses_of(queries, prompts, labels)
    golds = [str(label) for label in labels]
    graded = _graded(responses, golds)
    for (verdict, _), response, gold in zip(graded, responses, golds, strict=True):
        guard.record(verdict, response, gold)
    logs = {f"grader_{reason}": [float(verdict.reason == reason) for verdict, _ in graded] for reason in LOGGED}
    return [float(verdict.correct) for verdict, _ in graded], logs | {WAITED: [waited for _, waited in graded]}


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


def _graded(responses: Sequence[str], golds: Sequence[str]) -> list[tuple[Grade, float]]:
    """In threads where there are several: a verdict may have to wait for a worker process."""
    if len(responses) < 2:
        return [_graded_one(response, gold) for response, gold in zip(responses, golds, strict=True)]
    with ThreadPoolExecutor(min(len(responses), shared_pool().n_workers)) as threads:
        return list(threads.map(_graded_one, responses, golds))


def _graded_one(response: str, gold: str) -> tuple[Grade, float]:
    """The verdict, and the seconds that it waited for a process."""
    pool = shared_pool()
    budget = pool.budget()
    verdict = grade(response, gold, functools.partial(pool.symbolically_equal, budget=budget))
    return verdict, budget.waited
