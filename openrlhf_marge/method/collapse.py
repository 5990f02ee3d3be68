"""Signs that a policy no longer explores: completions that repeat each other, and sure tokens."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

from openrlhf_marge.method.groups import StateGroup
from openrlhf_marge.method.positions import percent_before

REPEATED = "marge/repeated_completions"
MOST_REPEATED = 0.9


def collapse_metrics(groups: Sequence[StateGroup]) -> dict[str, float]:
    """Repetition, length by outcome and, where log-probs were asked for, the policy's entropy by relative position.

    ``entropy/position_40`` is the mean of -log p, in nats per token, over completions of the states with at least 40
    and less than 60 % of their guidance before them (of s_0 without guidance: 0). p is that of the sampling policy
    with its temperature and top_p. What is a mean over nothing is left out.
    """
    totals: dict[str, float] = defaultdict(float)
    counts: Counter[str] = Counter()
    for group in groups:
        entropy = f"marge/entropy/position_{percent_before(group.state)}"
        for c in group.completions:
            length = f"marge/length_{'correct' if c.is_correct else 'incorrect'}"
            totals[length] += len(c.token_ids)
            counts[length] += 1
            if c.log_probs:
                totals[entropy] -= sum(c.log_probs)
                counts[entropy] += len(c.log_probs)
    several = {REPEATED: repeated(groups)} if any(len(g.completions) > 1 for g in groups) else {}
    return several | {name: totals[name] / n for name, n in sorted(counts.items())}


def repeated(groups: Sequence[StateGroup]) -> float:
    """Share of completions that are the same as an earlier one of their group, of those that have an earlier one."""
    later = sum(len(g.completions) - 1 for g in groups)
    same = sum(len(g.completions) - len({c.token_ids for c in g.completions}) for g in groups)
    return same / later if later else 0.0


def collapsed(groups: Sequence[StateGroup]) -> str | None:
    """A sentence where nearly all completions repeat each other; None where they do not."""
    share = repeated(groups)
    if share <= MOST_REPEATED:
        return None
    return (
        f"{share:.0%} of the completions are the same as another one of their state (train/{REPEATED}): the policy "
        "hardly explores any more; look at --rollout.temperature, --actor.adam.lr and --algo.kl.init_coef, or stop "
        "here"
    )
