"""Options of ``--marge.explore frontier`` and of what goes well with it; defaults as measured, see examples/map."""

from __future__ import annotations

from dataclasses import dataclass

from openrlhf_marge.method.flags import option


@dataclass(frozen=True, kw_only=True)
class FrontierOptions:
    """Fields of ``MargeConfig``."""

    frontier_states: int = option(1, "with --marge.explore frontier: states of a guidance beside s_0", low=1)
    frontier_samples: int = option(4, "with --marge.explore frontier: completions of such a state", low=2)
    frontier_hard: float = option(
        0.25, "with --marge.explore frontier: pass rate up to which a correct guidance is used", low=0.0, high=1.0
    )
    frontier_easy: float = option(
        0.85,
        "with --marge.explore frontier: pass rate from which on an incorrect guidance is used (a failure prefix); "
        "between the two there is nothing beside s_0",
        low=0.0,
        high=1.0,
    )
    frontier_gain: float = option(
        2.0,
        "with --marge.explore frontier: a state is sampled where a completion of it is predicted to tell at least so "
        "many times as much as one of s_0 (expected V (1 - V), of all visits)",
        low=0.0,
    )
    frontier_memory: float = option(
        0.5,
        "with --marge.explore frontier: weight of what a visit saw against the visit after it, when the values of "
        "states are predicted",
        low=0.0,
        high=1.0,
    )
    frontier_probe: int = option(
        0,
        "with --marge.explore frontier: completions that s_0 keeps where a state of known guidance is predicted to "
        "tell so many times as much (--marge.frontier_gain); the others move to that state. 0: s_0 keeps all",
        low=0,
    )
    rescue_samples: int = option(
        0,
        "with --marge.explore frontier: further completions of s_0 where all were wrong and no correct response is "
        "known",
        low=0,
    )
    negative_weight: float = option(
        1.0,
        "factor of negative advantages; below 1 wrong completions are held against the policy less. On tasks with one "
        "right path this raised pass@1; on real models it is known to lower pass@k for large k and the policy's "
        "entropy (arXiv 2506.01347), so watch both",
        low=0.0,
    )
