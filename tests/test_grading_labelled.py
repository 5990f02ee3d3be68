"""The grader on labelled cases and hostile input, where they lie beside the repository."""

import json
from collections import Counter
from pathlib import Path

import pytest

pytest.importorskip("latex2sympy2", reason="the symbolic part is not installed")

from openrlhf_marge.grading import grade

CASES = Path(__file__).resolve().parents[2] / "shared" / "data" / "grader_public.jsonl"
if not CASES.is_file():
    pytest.skip(f"{CASES.name} is not there", allow_module_level=True)

# The best of five graders on these kinds: (share of true cases, share of false cases) that is right.
BEST = {"a": (0.945, 0.996), "b": (0.998, 1.0)}


def text_of(case: dict, field: str) -> str:
    return case[field] if field in case else "".join(text * n for text, n in case[f"{field}_parts"])


@pytest.mark.timeout(600)
@pytest.mark.slow
def test_verdicts_are_at_least_as_good_as_the_best_grader_and_nothing_hangs():
    right, seen, reasons = Counter(), Counter(), Counter()
    for line in CASES.read_text(encoding="utf-8").splitlines():
        case = json.loads(line)
        verdict = grade(text_of(case, "response"), text_of(case, "gold"))
        reasons[case["kind"], verdict.reason] += 1
        if case["label"] is not None:
            seen[case["kind"], case["label"]] += 1
            right[case["kind"], case["label"]] += verdict.correct == case["label"]
    share = {key: right[key] / n for key, n in seen.items()}
    for kind, (true, false) in BEST.items():
        assert share[kind, True] >= true and share[kind, False] >= false, share
    assert share["c", False] == 1.0
    assert not any(count for (_, reason), count in reasons.items() if reason in ("timeout", "error")), reasons
