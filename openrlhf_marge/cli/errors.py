"""Errors of libraries within a sentence."""

from __future__ import annotations


def first_line(error: Exception) -> str:
    """The first line of its message; the name of its class where it has none."""
    return next(iter(str(error).splitlines()), type(error).__name__)
