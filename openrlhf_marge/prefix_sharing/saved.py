"""How many tokens a model was given and how many it computed."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class SavedTokens:
    """Counts of forward passes; ``distinct`` of the ``given`` tokens were computed."""

    given: int = 0
    distinct: int = 0

    def add(self, given: int, distinct: int) -> None:
        self.given += given
        self.distinct += distinct

    def __add__(self, other: SavedTokens) -> SavedTokens:
        return SavedTokens(self.given + other.given, self.distinct + other.distinct)

    @property
    def ratio(self) -> float:
        """Tokens given for each one computed; 1 where nothing was computed."""
        return self.given / self.distinct if self.distinct else 1.0
