"""Stops what relies on a grader that is broken: its failures would look like wrong answers, and train the model so."""

from __future__ import annotations

import functools
import os
import threading
from collections import Counter, deque

from openrlhf_marge.grading import REASONS, Grade

VARIABLE = "MARGE_GRADER_MAX_FAILURES"
DEFAULT_MAX_FAILURES = 0.2
WINDOW = 200  # gradings that the share of failures is taken of
LEAST = 50  # fewer say nothing yet
SHOWN_CHARS = 80  # of the end of an answer and of its gold answer
MENDS = {
    "timeout": "raise MARGE_GRADER_SECONDS, or look at such answers",
    "error": "read what the grader printed, or look at such answers",
}
FAILURES = tuple(MENDS)


class GraderGuard:
    """Counts verdicts by reason and watches the share of failures (``FAILURES``) among the last ``WINDOW``.

    Below the limit a failure counts as a wrong answer: an answer that keeps the grader busy for ever is none that
    should be learned. Errors have no limit of their own, because an answer can exhaust a worker's memory as well as
    its time. Both tell something about answers only, never about a busy machine: time is CPU time, and a grader that
    gets none raises GraderUnavailable, which reaches no guard. Thread-safe.
    """

    def __init__(self, max_failures: float = DEFAULT_MAX_FAILURES) -> None:
        self._max_failures = max_failures
        self._counts: Counter[str] = Counter(dict.fromkeys(REASONS, 0))
        self._failed: deque[bool] = deque(maxlen=WINDOW)
        self._lock = threading.Lock()

    @property
    def counts(self) -> dict[str, int]:
        """Verdicts by reason since the start."""
        with self._lock:
            return dict(self._counts)

    @property
    def failure_share(self) -> float:
        """Share of failures among the last verdicts, at most ``WINDOW``; 0.0 before the first."""
        with self._lock:
            return self._share()

    def record(self, grade: Grade, response: str, gold: str) -> None:
        """Count one verdict; RuntimeError, here and for every further one, while the share is above the limit."""
        with self._lock:
            self._counts[grade.reason] += 1
            self._failed.append(grade.reason in FAILURES)
            if self._failed[-1]:
                self._last = (grade.reason, response[-SHOWN_CHARS:], gold[-SHOWN_CHARS:])
            seen, share = len(self._failed), self._share()
            if seen < LEAST or share <= self._max_failures:
                return
            reason, response, gold = self._last
        raise RuntimeError(
            f"the grader failed on {share:.1%} of the last {seen} answers, more than {VARIABLE} "
            f"{self._max_failures:g}, last with {reason!r} on an answer that ends in {response!r} for the gold answer "
            f"{gold!r}; {MENDS[reason]}"
        )

    def _share(self) -> float:
        return sum(self._failed) / max(1, len(self._failed))


@functools.cache
def process_guard() -> GraderGuard:
    """The guard that all gradings of this process share; ValueError when the limit in the environment is none."""
    return GraderGuard(max_failures())


def max_failures() -> float:
    """The limit that the environment sets."""
    text = os.environ.get(VARIABLE, str(DEFAULT_MAX_FAILURES))
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0.0 <= value <= 1.0:  # also false for NaN
        raise ValueError(f"{VARIABLE} is {text!r}; it must be a number from 0 to 1")
    return value
