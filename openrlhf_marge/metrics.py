"""Explorations of one step -> the numbers under ``marge/`` in the training log."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from openrlhf_marge.explorer import Exploration


def exploration_metrics(explorations: Sequence[Exploration]) -> dict[str, float]:
    """Means over the problems, groups or states of one step; a mean over nothing is left out, never zero."""
    groups = [g for e in explorations for g in e.groups]
    explored = [e for e in explorations if e.groups]
    metrics = {
        "marge/problems": float(len(explorations)),
        "marge/problems_without_guidance": float(sum(e.no_guidance for e in explorations)),
        "marge/problems_without_room": float(sum(e.no_room for e in explorations)),
        "marge/candidate_tokens": float(sum(e.candidate_tokens for e in explorations)),
        "marge/completion_tokens": float(sum(len(c.token_ids) for g in groups for c in g.completions)),
        "marge/groups": float(len(groups)),
    }
    metrics["marge/generated_tokens"] = metrics["marge/candidate_tokens"] + metrics["marge/completion_tokens"]
    if not groups:
        return metrics
    metrics["marge/states_per_problem"] = len(groups) / len(explored)
    metrics["marge/groups_with_signal"] = sum(g.has_signal for g in groups) / len(groups)
    metrics["marge/pass_rate"] = sum(e.groups[0].value for e in explored) / len(explored)
    metrics["marge/guidance_correct"] = sum(e.groups[0].guidance_is_correct for e in explored) / len(explored)
    metrics["marge/guidance_kept"] = sum(e.guidance_kept for e in explored) / len(explored)
    return metrics | state_values(explorations)


def state_values(explorations: Sequence[Exploration]) -> dict[str, float]:
    """Mean V(s_j) by state index, apart for correct and incorrect guidance (Fig. 3)."""
    values = defaultdict(list)
    for group in (g for e in explorations for g in e.groups):
        kind = "correct" if group.guidance_is_correct else "incorrect"
        values[f"marge/value_{kind}/state_{group.state.index}"].append(group.value)
    return {key: sum(v) / len(v) for key, v in sorted(values.items())}
