"""The kinds of rows by name: the package's own, and installed ones."""

from __future__ import annotations

from importlib.metadata import entry_points

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
    found = {entry.name: entry for entry in entry_points(group=ENTRY_POINT_GROUP)}
    if name not in found:
        known = ", ".join([*BUILDERS, *sorted(found)])
        raise ValueError(
            f"--kind is {name!r}; it must be one of {known}, or another installed name of the entry-point group "
            f"{ENTRY_POINT_GROUP}"
        )
    try:
        loaded = found[name].load()
    except Exception as e:
        raise ValueError(f"--kind {name} ({found[name].value}) does not load: {type(e).__name__}: {e}") from e
    builder = loaded() if isinstance(loaded, type) else loaded
    if missing := [part for part in ("options", "schema", "drafts", "row") if not hasattr(builder, part)]:
        raise ValueError(f"--kind {name} ({found[name].value}) has no {missing[0]!r}; see pairs/base.py, Builder")
    return builder
