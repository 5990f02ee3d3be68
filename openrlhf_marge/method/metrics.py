"""Explorations of one step -> the numbers under ``marge/`` in the training log."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from openrlhf_marge.method.collapse import collapse_metrics
from openrlhf_marge.method.groups import Exploration, StateGroup
from openrlhf_marge.method.positions import percent_before
from openrlhf_marge.types import Guidance

# Names of numbers that are read again from a log.
PROBLEMS = "marge/problems"
WITHOUT_GUIDANCE = "marge/problems_without_guidance"
WITHOUT_ROOM = "marge/problems_without_room"
STATES_PER_PROBLEM = "marge/states_per_problem"
GROUPS_WITH_SIGNAL = "marge/groups_with_signal"
GROUPS_AFTER_S0 = "marge/groups_after_s0"
PASS_RATE = "marge/pass_rate"
GUIDANCE_CORRECT = "marge/guidance_correct"
COMPLETIONS, CANDIDATES, PROBES = "marge/completions", "marge/candidates", "marge/probes"  # how many were sampled
COMPLETION_TOKENS = "marge/completion_tokens"
GENERATED_TOKENS = "marge/generated_tokens"
OUTCOME_DIVERSITY = "marge/outcome_diversity_per_1k_tokens"
VALID_PAIRS = "marge/valid_pairs_per_1k_tokens"
STATE_VALUE = "marge/value_{kind}/state_"  # the index follows; the kind of the guidance is correct or incorrect
# Those that the host adds.
EXPLORING_SECONDS = "marge/exploring_seconds"
PLANNED_STEPS, TAKEN_STEPS = "marge/planned_steps", "marge/taken_steps"  # of the optimizer
SKIPPED_STEPS = "marge/skipped_steps"  # of the schedule, for completions that were not trained on
GROUPS_SKIPPED = "marge/groups_skipped"
GROUPS_TOO_OLD = "marge/groups_too_old"
OLDEST_AGE = "marge/oldest_age"  # in weight updates, of the groups trained on in a step
SHARED_TOKEN_RATIO = "marge/shared_token_ratio"  # tokens given to the policy for each one that it computed
TRAINED_TOKENS, DISTINCT_TOKENS = "marge/trained_tokens", "marge/trained_tokens_distinct"


def exploration_metrics(explorations: Sequence[Exploration]) -> dict[str, float]:
    """Means over the problems, groups or states of one step; a mean over nothing is left out, never zero."""
    groups = [g for e in explorations for g in e.groups]
    explored = [e for e in explorations if e.groups]
    guided = [e for e in explored if e.guidance_age is not None]
    ages = [e.guidance_age for e in explored if e.guidance_age is not None]
    tokens = {
        "marge/candidate_tokens": float(sum(e.candidate_tokens for e in explorations)),
        "marge/probe_tokens": float(sum(e.probe_tokens for e in explorations)),
        COMPLETION_TOKENS: float(sum(g.n_tokens for g in groups)),
    }
    metrics = tokens | {
        PROBLEMS: float(len(explorations)),
        WITHOUT_GUIDANCE: float(sum(e.no_guidance for e in explorations)),
        WITHOUT_ROOM: float(sum(e.no_room for e in explorations)),
        "marge/guidance_without_labels": float(sum(len(guidances_of(e, without_labels=True)) for e in explorations)),
        "marge/groups": float(len(groups)),
        COMPLETIONS: float(sum(len(g.completions) for g in groups)),
        CANDIDATES: float(sum(len(e.candidates.completions) for e in explorations if e.candidates)),
        PROBES: float(sum(len(g.completions) for e in explorations for g in e.probes)),
        GENERATED_TOKENS: sum(tokens.values()),
    }
    metrics |= _mean(STATES_PER_PROBLEM, (len(e.groups) for e in explored))
    metrics |= _mean(GROUPS_WITH_SIGNAL, (g.has_signal for g in groups))
    metrics |= _mean(GROUPS_AFTER_S0, (g.state.index > 0 for g in groups))
    metrics |= _mean("marge/groups_across_weight_updates", (g.crosses_update for g in groups))
    metrics |= _mean(PASS_RATE, (e.pass_rate for e in explorations if e.pass_rate is not None))
    metrics |= _mean(GUIDANCE_CORRECT, (g.is_correct for e in guided if (g := e.groups[0].state.guidance)))
    metrics |= _mean("marge/guidance_kept", (e.guidance_kept for e in guided))
    metrics |= predictions(explored)
    metrics |= _mean("marge/guidance_age", ages)
    return metrics | pairs_per_token(groups) | state_values(groups) | collapse_metrics(groups)


def guidances_of(exploration: Exploration, *, without_labels: bool = False) -> tuple[Guidance, ...]:
    """The different guidances of a visit; or those of them cut by tokens where ``--marge.split`` found no place."""
    states = [g.state for g in exploration.groups if g.state.is_fallback or not without_labels]
    return tuple(dict.fromkeys(s.guidance for s in states if s.guidance is not None))


def predictions(explorations: Sequence[Exploration]) -> dict[str, float]:
    """How the values of states that were chosen by a prediction turned out; {} without such states."""
    predicted = [value for e in explorations for value in e.predicted_values]
    seen = [g.pass_rate for e in explorations if e.predicted_values for g in e.groups[1:]]
    return (
        _mean("marge/frontier_value_predicted", predicted)
        | _mean("marge/frontier_value", seen)
        | ({"marge/frontier_states": float(len(seen))} if seen else {})
    )


def pairs_per_token(groups: Sequence[StateGroup]) -> dict[str, float]:
    """What exploration gains per 1000 generated completion tokens (Fig. 5a, Prop. C.2).

    ``outcome_diversity``: sum over groups of n times the chance that two completions of the group differ in outcome;
    ``valid_pairs``: sum of min(correct, incorrect), the pairs there are, of which a larger group has more at equal p.
    """
    thousands = sum(g.n_tokens for g in groups) / 1000
    if not thousands:
        return {}
    correct = [(sum(c.is_correct for c in g.completions), len(g.completions)) for g in groups]
    diversity = sum(n * outcome_diversity(n_correct, n) for n_correct, n in correct)
    pairs = sum(min(n_correct, n - n_correct) for n_correct, n in correct)
    return {OUTCOME_DIVERSITY: diversity / thousands, VALID_PAIRS: pairs / thousands}


def outcome_diversity(n_correct: int, n: int) -> float:
    """The chance that of two completions of a group one is correct and one is not: n / (n - 1) 2 V (1 - V).

    Fig. 5a stands for the share of possible correct-incorrect pairs (Sec. 4.3.2) and measures it by entropy. The
    entropy of the V of n completions is too low by about 1 / (2 n ln 2) bits, so that a group of 40 has more of it
    than five groups of 8 at the same p, and no estimate of it is unbiased (Paninski, 2003). This one (Simpson's index
    of diversity, 1949) expects 2 p (1 - p) for any n from 2 on, and is that share itself. A lone completion has none.
    """
    return 2 * n_correct * (n - n_correct) / (n * (n - 1)) if n > 1 else 0.0


def state_values(groups: Iterable[StateGroup]) -> dict[str, float]:
    """Mean V(s_j), apart for correct and incorrect guidance: by state index (Fig. 3) and by relative position.

    ``position_40`` holds the states with at least 40 and less than 60 % of their guidance before them. An s_0 that
    chose its guidance is left out: with 8 completions of p = 0.05, a correct one among them, its mean is 0.15.
    """
    values = defaultdict(list)
    for group in groups:
        if group.state.guidance is None or group.chose_guidance:
            continue
        kind = "correct" if group.state.guidance.is_correct else "incorrect"
        values[f"{STATE_VALUE.format(kind=kind)}{group.state.index}"].append(group.value)
        values[f"marge/value_{kind}/position_{percent_before(group.state)}"].append(group.value)
    return {key: sum(v) / len(v) for key, v in sorted(values.items())}


def _mean(name: str, values: Iterable[float]) -> dict[str, float]:
    found = list(values)
    return {name: sum(found) / len(found)} if found else {}
