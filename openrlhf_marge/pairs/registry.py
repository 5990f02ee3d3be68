"""The kinds of rows by name: the package's own, and installed ones."""

from __future__ import annotations

from typing import Any

from openrlhf_marge.entry_points import Registry
from openrlhf_marge.pairs.base import Builder
from openrlhf_marge.pairs.mcts import SearchedResponses, SearchedSteps
from openrlhf_marge.pairs.outcomes import MargePairs, OutcomePairs, Responses
from openrlhf_marge.pairs.steps import FirstPits, StepLabels, StepPairs


def _builder(named: str, loaded: Any) -> Builder:
    """An installed builder, made here where it is a class."""
    builder = loaded() if isinstance(loaded, type) else loaded
    if missing := [part for part in ("options", "schema", "drafts", "row") if not hasattr(builder, part)]:
        raise ValueError(f"{named} has no {missing[0]!r}; see pairs/base.py, Builder")
    return builder


BUILDERS: Registry[Builder] = Registry(
    flag="--kind",
    group="openrlhf_marge.pair_builders",
    own={
        "marge": MargePairs(),
        "outcome": OutcomePairs(),
        "sft": Responses(),
        "prm": StepLabels(),
        "self_explore": FirstPits(),
        "step_dpo": StepPairs(),
        "mcts": SearchedResponses(),
        "mcts_steps": SearchedSteps(),
    },
    check=_builder,
)
