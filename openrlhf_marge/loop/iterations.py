"""Stage after stage, iteration after iteration; what is done stays done when the loop is started again."""

from __future__ import annotations

import os
import re
import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

from openrlhf_marge.data.files import read_object, write_json
from openrlhf_marge.data.redaction import redacted_words
from openrlhf_marge.data.rows import count_rows
from openrlhf_marge.loop.commands import STAGES, Flags, evaluate_command, stage_commands
from openrlhf_marge.loop.kinds import LoopKind

RunCommand = Callable[[Sequence[str], Path], None]  # (command, log): RuntimeError when the command fails
SCORE = "pass@1"  # of the held-out problems
FLAG = re.compile(r"--[\w.]+(=|$)")  # and no text of several


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
    model, scores = loop.model, []
    before = loop.folder(0)
    evaluation = {"evaluate": evaluate_command(model=model, heldout=loop.heldout, out=before, flags=loop.flags)}
    run_stages(before, evaluation, run, loop.batch_size)
    for number in range(1, loop.iterations + 1):
        folder = loop.folder(number)
        commands = stage_commands(
            loop.kind, loop.flags, folder, model, loop.folder(number - 1) if number > 1 else None, loop.heldout,
            loop.max_len, loop.launcher,
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


def run_stages(folder: Path, commands: Mapping[str, Sequence[str]], run: RunCommand, batch_size: int) -> None:
    """Run the stages that ``stages.json`` does not hold yet."""
    done = read_stages(folder)
    for stage, command in commands.items():
        if stage in done:
            check_same(f"{stage} of {folder}", done[stage]["command"], command)
            continue
        if stage == "train":
            check_rows(folder, batch_size)
        run_stage(folder, stage, command, run)


def run_stage(folder: Path, stage: str, command: Sequence[str], run: RunCommand) -> None:
    """Run a stage, and note it with its command and seconds when it is done."""
    folder.mkdir(parents=True, exist_ok=True)
    print(f"== {folder.name}: {stage}", flush=True)
    start = time.monotonic()
    try:
        run(command, folder / f"{stage}.log")
    except RuntimeError as e:
        raise RuntimeError(f"{stage} of {folder} failed with {e}; the same command goes on there") from e
    note = {"seconds": round(time.monotonic() - start, 1), "command": redacted_words(command)}
    write_json(folder / "stages.json", read_stages(folder) | {stage: note})


def read_stages(folder: Path) -> dict[str, dict[str, Any]]:
    """Stage -> what is noted of it, of those that are done; earlier versions noted secrets, too."""
    path = folder / "stages.json"
    stages = read_object(path) if path.is_file() else {}
    for stage, note in stages.items():
        if not (isinstance(note, dict) and _is_command(note.get("command"))):
            raise ValueError(f"{path}: what is noted of the stage {stage!r:.80} has no command; take the stage out")
    return {stage: note | {"command": redacted_words(note["command"])} for stage, note in stages.items()}


def _is_command(words: Any) -> bool:
    return isinstance(words, list) and all(isinstance(word, str) for word in words) and "-m" in words


def check_same(name: str, there: Sequence[str], wanted: Sequence[str]) -> None:
    """ValueError when a stage was done with other flags; interpreter, launcher and what is logged may be others."""
    (there_flags, wanted_flags) = (
        compared(words[len(words) - words[::-1].index("-m") :]) for words in (there, wanted)
    )
    for word, other in zip_longest(there_flags, wanted_flags, fillvalue="nothing"):
        if word != other:
            raise ValueError(
                f"{name} was done with {word} where there is {other} now; give the same flags, or another --out"
            )


def compared(words: Sequence[str]) -> list[str]:
    """Without secrets and ``--logger.*``, also in the words that are flags of a stage."""
    kept, is_kept = [], True
    for word in redacted_words(words):
        if FLAG.match(word):
            is_kept = not word.startswith("--logger.")
        if is_kept:
            kept.append(shlex.join(compared(shlex.split(word))) if " --logger." in f" {word}" else word)
    return kept


def check_rows(folder: Path, batch_size: int) -> None:
    """OpenRLHF trains on whole batches: fewer rows than one would train nothing, or fail late."""
    rows = count_rows(folder / "pairs" / "train.jsonl")
    if rows < batch_size:
        raise ValueError(
            f"{folder / 'pairs'} has {rows} rows, fewer than --train.batch_size {batch_size}; give --train a smaller "
            f"one, or --explore more problems (what was left out and why is in {folder / 'pairs' / 'README.md'})"
        )


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
