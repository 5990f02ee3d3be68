"""Counts in printed sentences."""

from __future__ import annotations


def counted(number: int, noun: str) -> str:
    """The number and its noun, "1 state" or "2 states"; the plural must be regular."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
