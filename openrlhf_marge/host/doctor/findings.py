"""One thing that was looked at."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Level(Enum):
    """How a finding bears on a run."""

    OK = "ok"
    WARNING = "warning"  # a run may work, or work badly
    FAULT = "FAULT"  # a run cannot work


@dataclass(frozen=True)
class Finding:
    """What was seen, and how to mend it where it is not as it should be."""

    level: Level
    what: str
    mend: str = ""

    def __str__(self) -> str:
        return f"{self.level.value:<8}{self.what}{'; ' if self.mend else ''}{self.mend}"


def ok(what: str) -> Finding:
    return Finding(Level.OK, what)


def warning(what: str, mend: str) -> Finding:
    return Finding(Level.WARNING, what, mend)


def fault(what: str, mend: str) -> Finding:
    return Finding(Level.FAULT, what, mend)
