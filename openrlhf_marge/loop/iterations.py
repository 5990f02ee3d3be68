"""Iteration after iteration, until the last one or until the held-out score stays behind; what they came to."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openrlhf_marge.data.files import read_object, write_json
from openrlhf_marge.data.rows import count_rows
from openrlhf_marge.loop.commands import STAGES, Flags, evaluate_command, stage_commands
from openrlhf_marge.loop.kinds import LoopKind
from openrlhf_marge.loop.stages import RunCommand, read_stages, run_stages

SCORE = "pass@1"  # of the held-out problems


@dataclass(frozen=True, kw_only=True)
class Loop:
    """Everything that a loop is made of."""

    kind: LoopKind
    out: Path
    model: str
    heldout: str
    flags: Flags
    iterations: int
    patience: int  # iterations without a better held-out score before it stops; 0: never
    max_len: int  # tokens of prompt and response, in every stage
    batch_size: int  # rows of an optimizer step
    launcher: tuple[str, ...]

    def folder(self, number: int) -> Path:
        """Folder of an iteration, from 1 on; 0 is the model that the loop begins with."""
        return self.out / f"iteration_{number}"


def run_loop(loop: Loop, run: RunCommand) -> dict[str, Any]:
    """Run what is not done yet; returns what ``summary.json`` holds."""
    check_heldout_unchanged(loop)
    model, scores = loop.model, []
    before = loop.folder(0)
    evaluation = {"evaluate": evaluate_command(model=model, heldout=loop.heldout, out=before, flags=loop.flags)}
    run_stages(before, evaluation, run, loop.batch_size)
    for number in range(1, loop.iterations + 1):
        folder = loop.folder(number)
        commands = stage_commands(
            loop.kind, loop.flags, folder, loop.model, model, loop.folder(number - 1) if number > 1 else None,
            loop.heldout, loop.max_len, loop.launcher,
        )  # fmt: skip
        run_stages(folder, commands, run, loop.batch_size)
        model = str(folder / "model")
        summary = summarise(loop, number)
        write_json(loop.out / "summary.json", summary)
        scores = [i[SCORE] for i in summary["iterations"]]
        if loop.patience and number - summary["best_iteration"] >= loop.patience and number < loop.iterations:
            print(f"== stopped early: held-out {SCORE} was best after iteration {summary['best_iteration']}: {scores}")
            break
    return summary


def check_heldout_unchanged(loop: Loop) -> None:
    """ValueError when the held-out file is another one than when the loop began: its scores would not compare."""
    if not Path(loop.heldout).is_file():
        return  # a data set by its name
    note, digest = loop.out / "heldout_data.json", hashlib.sha256(Path(loop.heldout).read_bytes()).hexdigest()
    if note.is_file() and read_object(note).get("sha256") != digest:
        raise ValueError(
            f"--heldout {loop.heldout} has changed since {loop.out} was begun, so that the iterations would not "
            "compare; give the problems that it had, or another --out"
        )
    loop.out.mkdir(parents=True, exist_ok=True)
    write_json(note, {"sha256": digest})


def summarise(loop: Loop, last: int) -> dict[str, Any]:
    """The held-out numbers before, after each iteration and of the best one, with what each took."""
    heldout = [read_object(loop.folder(number) / "heldout.json") for number in range(last + 1)]
    iterations = [iteration_summary(loop.folder(number)) for number in range(1, last + 1)]
    best = max(range(last + 1), key=lambda number: heldout[number][SCORE])  # the earliest of equal ones
    return {
        "kind": loop.kind.pairs,
        "before": heldout[0],
        "after": heldout[last],
        "best_iteration": best,
        "best_model": os.path.abspath(loop.folder(best) / "model") if best else loop.model,
        "generated_tokens": sum(i["explored"]["generated_tokens"] for i in iterations),
        "iterations": iterations,
    }


def iteration_summary(folder: Path) -> dict[str, Any]:
    heldout = read_object(folder / "heldout.json")
    return {
        SCORE: heldout[SCORE],
        "explored": read_object(folder / "explore" / "summary.json"),
        "rows": count_rows(folder / "pairs" / "train.jsonl"),
        "seconds": {stage: read_stages(folder)[stage]["seconds"] for stage in STAGES},
    }
