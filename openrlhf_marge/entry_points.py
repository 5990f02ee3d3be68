"""Registries: what a flag may name, the package's own objects and those that other packages bring by entry points."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Any, Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, eq=False)
class Registry(Generic[T]):
    """Objects by the name that a flag takes."""

    flag: str
    group: str  # of entry points
    own: Mapping[str, T]
    # What an installed object becomes; it raises ValueError beginning with the first argument, which names the object.
    check: Callable[[str, Any], T] = lambda named, loaded: loaded

    def load(self, name: str) -> T:
        """The object called ``name``; ValueError when nothing of that name is installed, or it cannot be loaded."""
        return self.own[name] if name in self.own else load_installed(self, name)


def function_of(arguments: str) -> Callable[[str, Any], Any]:
    """A check that an installed object can be called; ``arguments`` says with what, and what it returns."""

    def check(named: str, loaded: Any) -> Any:
        if not callable(loaded):
            raise ValueError(f"{named} is no function {arguments}")
        return loaded

    return check


@functools.cache  # some are asked for at every response, and entry points are read from disk
def load_installed(registry: Registry[T], name: str) -> T:
    """The installed object called ``name``, checked; errors as ``Registry.load``."""
    flag, group = registry.flag, registry.group
    found = {entry.name: entry for entry in entry_points(group=group)}
    if name not in found:
        known = ", ".join([*registry.own, *sorted(found)])
        raise ValueError(f"{flag} is {name!r}; it must be one of {known}, or another name in the entry points {group}")
    named = f"{flag} {name} ({found[name].value})"
    try:
        loaded = found[name].load()
    except Exception as e:
        raise ValueError(f"{named} does not load: {type(e).__name__}: {e}") from e
    return registry.check(named, loaded)
