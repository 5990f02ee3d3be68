"""Marks: the models that a run keeps where it has used a share of its budget; RUN/marks/25 is that of a quarter."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


def mark_name(share: float) -> str:
    """The percentage, as in the name of its folder."""
    return f"{100 * share:.12g}"


def mark_folder(run: Path, share: float) -> Path:
    """Where the run keeps the model."""
    return run / "marks" / mark_name(share)


def check_marks(marks: Sequence[float]) -> None:
    """ValueError for a share that is none, or that is given twice."""
    for share in marks:
        if not 0 < share < 1:
            raise ValueError(f"marks has {share:g}; a mark is a share of the budget between 0 and 1, such as 0.25")
    names = [mark_name(share) for share in marks]
    if doubled := [name for name in names if names.count(name) > 1]:
        raise ValueError(f"marks has {doubled[0]} % twice; leave one out")
