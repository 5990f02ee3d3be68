"""Errors of libraries within a sentence."""

from __future__ import annotations

LONGEST = 300  # characters


def one_line(error: Exception) -> str:
    """The begin of its message in one line; the name of its class where it has none."""
    return " ".join(str(error).split())[:LONGEST] or type(error).__name__
