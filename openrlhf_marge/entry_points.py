"""What other packages bring by entry points: splitters, rewards, builders of pairs."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.metadata import entry_points
from typing import Any


def load_installed(flag: str, name: str, group: str, own: Iterable[str]) -> tuple[Any, str]:
    """(the object called ``name`` in an entry-point group, where it comes from as "module:object").

    ValueError naming ``flag`` when nothing of that name is installed, or it cannot be loaded; ``own`` are the names
    that the package has itself.
    """
    found = {entry.name: entry for entry in entry_points(group=group)}
    if name not in found:
        known = ", ".join([*own, *sorted(found)])
        raise ValueError(f"{flag} is {name!r}; it must be one of {known}, or another name in the entry points {group}")
    try:
        return found[name].load(), found[name].value
    except Exception as e:
        raise ValueError(f"{flag} {name} ({found[name].value}) does not load: {type(e).__name__}: {e}") from e
