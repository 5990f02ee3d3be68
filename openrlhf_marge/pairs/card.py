"""Describes the rows that were built: on the terminal, and as the data card of a folder (Hugging Face's form)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from openrlhf_marge.data.plurals import counted
from openrlhf_marge.pairs.base import REASONS, Trainer

NEEDS_PATCHES = (
    "OpenRLHF must carry the patches (`python -m openrlhf_marge.patches status`): without them it appends EOS to each "
    "step, and leaves out the column `label_smoothing`, without a word."
)
CARD = "README.md"
MARKER = "rows from a dump of openrlhf_marge"  # in the title of every card
SIZES = ((10**3, "n<1K"), (10**4, "1K<n<10K"), (10**5, "10K<n<100K"), (10**6, "100K<n<1M"), (10**7, "1M<n<10M"))


@dataclass
class Summary:
    """Counts of a run of ``build_pairs``."""

    completions: int = 0  # in the dump
    stopped: int = 0  # of these, ended by a stop text
    rows: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    problems: set[str] = field(default_factory=set)
    low: float = 1.0
    high: float = 0.0

    def add(self, row: Mapping[str, Any]) -> None:
        """Count a row; those of other columns than the package's are counted alone."""
        self.rows += 1
        if "problem_id" in row:
            self.problems.add(row["problem_id"])
        if (value := row.get("value")) is not None:
            self.low, self.high = min(self.low, value), max(self.high, value)

    def rows_line(self) -> str:
        """What became of how much."""
        return f"{counted(self.rows, 'row')} from {counted(self.completions, 'completion')}"

    def stopped_line(self) -> str:
        """What became of completions that a stop text ended."""
        return f"{self.stopped} of the completions ended at a text of --marge.stop, and end with EOS in its place"

    def left_out_lines(self) -> list[str]:
        """Counts by reason, the most frequent first."""
        ordered = sorted(self.left_out.items(), key=lambda item: (-item[1], item[0]))
        return [f"{count} {REASONS.get(reason, reason)}" for reason, count in ordered]


def data_card(summary: Summary, kind: str, trainer: Trainer | None, model: str, settings: Mapping[str, Any]) -> str:
    """The README.md of a folder with one file train.*; the same for the same rows, whenever it is made.

    Without a list of ``configs``: with one, ``datasets`` takes any folder of the same name for the same data, and
    gives the rows of the first that was ever loaded.
    """
    lines = [
        "---", "size_categories:", f"- {size_category(summary.rows)}", "tags:", "- openrlhf_marge", f"- {kind}", "---",
        "",
        f"# {kind} {MARKER}", "",
        summary.rows_line()
        + (f" of {counted(len(summary.problems), 'problem')}" * bool(summary.problems))
        + f", built by `python -m openrlhf_marge.cli.build_pairs --kind {kind}`.",
        "", f"- Model whose tokenizer checked every row: `{model}`",
    ]  # fmt: skip
    if summary.low <= summary.high:
        lines.append(f"- Value of the states (mean reward of their completions): {summary.low:g} to {summary.high:g}")
    if summary.stopped:
        lines.append(f"- {summary.stopped_line()}")
    lines += ["- Settings: " + ", ".join(f"`{name}` {value}" for name, value in sorted(settings.items())), ""]
    lines += ["## Left out", "", *(f"- {line}" for line in summary.left_out_lines() or ["nothing"]), ""]
    return "\n".join([*lines, *_use(trainer, settings)])


def _use(trainer: Trainer | None, settings: Mapping[str, Any]) -> list[str]:
    if trainer is None:
        return []
    columns = " ".join(word or '""' for word in trainer.data_flags)
    command = f"python -m {trainer.module} --data.dataset FOLDER {columns}"
    if settings.get("max_len"):
        command += f" --data.max_len {settings['max_len']}"
    told = "Prompts are as the model saw them, so no chat template is applied again:"
    patched = ["", NEEDS_PATCHES] * trainer.needs_patches
    return ["## Use", "", told, "", "```bash", command, "```", *patched, ""]


def size_category(rows: int) -> str:
    """Hugging Face's name of a size."""
    return next((name for most, name in SIZES if rows < most), "10M<n<100M")
