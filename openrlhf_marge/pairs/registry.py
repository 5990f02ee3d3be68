"""The kinds of rows by name: the package's own, and installed ones."""

from __future__ import annotations

from openrlhf_marge.entry_points import load_installed
from openrlhf_marge.pairs.base import Builder
from openrlhf_marge.pairs.outcomes import MargePairs, OutcomePairs, Responses
from openrlhf_marge.pairs.steps import FirstPits, StepLabels, StepPairs

ENTRY_POINT_GROUP = "openrlhf_marge.pair_builders"
BUILDERS: dict[str, Builder] = {
    "marge": MargePairs(),
    "outcome": OutcomePairs(),
    "sft": Responses(),
    "prm": StepLabels(),
    "self_explore": FirstPits(),
    "step_dpo": StepPairs(),
}


def load_builder(name: str) -> Builder:
    """The builder called ``name``; ValueError when nothing of that name is installed, or it cannot be loaded."""
    if name in BUILDERS:
        return BUILDERS[name]
    loaded, source = load_installed("--kind", name, ENTRY_POINT_GROUP, BUILDERS)
    builder = loaded() if isinstance(loaded, type) else loaded
    if missing := [part for part in ("options", "schema", "drafts", "row") if not hasattr(builder, part)]:
        raise ValueError(f"--kind {name} ({source}) has no {missing[0]!r}; see pairs/base.py, Builder")
    return builder
