"""What the scripts of this folder say where there is no GPU, what they print, and the file that they write."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch
import transformers

ROOT = Path(__file__).parents[2]


def why_skipped() -> str | None:
    """A sentence where this machine has no GPU that FlashAttention serves; None where it has one."""
    if not torch.cuda.is_available():
        return "skipped: torch sees no GPU here"
    if torch.version.hip or torch.cuda.get_device_capability() < (8, 0):
        return f"skipped: {torch.cuda.get_device_name()} is no NVIDIA GPU of compute capability 8.0 or higher"
    return None


def machine() -> dict[str, str]:
    """What numbers of a GPU are worth nothing without."""
    commit = subprocess.run(["git", "-C", str(ROOT), "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    return {
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d"),
        "card": torch.cuda.get_device_name() if torch.cuda.is_available() else "none",
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "commit": commit.stdout.strip() or "unknown",
    }


def row(cells: Iterable[Any], widths: Sequence[int]) -> str:
    """A line of a table of text: the first cell on the left, the others on the right of their columns."""
    first, *others = map(_text, cells)
    return first.ljust(widths[0]) + "".join(cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True))


def _text(cell: Any) -> str:
    if isinstance(cell, float):
        return f"{cell:.0f}" if abs(cell) >= 100 else f"{cell:.3g}"
    return "-" if cell is None else str(cell)


def print_assertions(held: dict[str, bool]) -> None:
    for sentence, holds in held.items():
        print(f"{'ok    ' if holds else 'FAILED'} {sentence}", flush=True)
