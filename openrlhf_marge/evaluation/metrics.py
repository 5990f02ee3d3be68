"""The graded responses of one problem -> the value of every metric."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from openrlhf_marge.evaluation.estimates import pass_at_k
from openrlhf_marge.evaluation.majority import maj_at_k, vote_of
from openrlhf_marge.grading import REASONS

SHARES = tuple(reason for reason in REASONS if reason not in ("correct", "wrong"))  # pass@1 tells these two


@dataclass(frozen=True, slots=True)
class Response:
    """A response as it was graded; ``answer`` is None where none was found, ``reason`` one of grading's REASONS."""

    text: str
    answer: str | None
    correct: bool
    reason: str
    truncated: bool


def problem_metrics(
    sampled: Sequence[Response], greedy: Sequence[Response], ks: Collection[int], *, one_answer: bool = True
) -> dict[str, float]:
    """pass@k and maj@k of the sampled responses, pass@1 over the greedy runs, and the shares of failures of both.

    ``one_answer``: all correct responses have the same answer, as to math problems; else each votes as it is spelled.
    """
    values = {}
    if sampled:
        n, n_correct = len(sampled), sum(r.correct for r in sampled)
        majority = _majority(sampled, ks, one_answer)
        values |= {f"pass@{k}": pass_at_k(n, n_correct, k) for k in ks}
        values |= {f"maj@{k}": majority[k] for k in ks if k > 1}  # maj@1 is pass@1
        values |= _shares(sampled)
    if greedy:
        values["greedy_pass@1"] = sum(r.correct for r in greedy) / len(greedy)
        values |= {f"greedy_{name}": share for name, share in _shares(greedy).items()}
    return values


def _majority(sampled: Sequence[Response], ks: Collection[int], one_answer: bool) -> dict[int, float]:
    """The chances of all correct answers to win; only one can."""
    wrong = Counter(vote_of(r.answer) for r in sampled if not r.correct and r.answer is not None)
    correct = Counter("" if one_answer else vote_of(r.answer or r.text) for r in sampled if r.correct)
    majority = dict.fromkeys(ks, 0.0)
    for answer, votes in correct.items():
        others = [*wrong.values(), *(count for other, count in correct.items() if other != answer)]
        for k, chance in maj_at_k(len(sampled), votes, others, ks).items():
            majority[k] += chance
    return majority


def _shares(responses: Sequence[Response]) -> dict[str, float]:
    counts = Counter(r.reason for r in responses) + Counter(truncated=sum(r.truncated for r in responses))
    return {name: counts[name] / len(responses) for name in ("truncated", *SHARES)}
