"""The stages of a run, one command each; what is done stays done when the run is started again."""

from __future__ import annotations

import re
import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

from openrlhf_marge.data.files import read_object, write_json
from openrlhf_marge.data.redaction import redacted_words
from openrlhf_marge.data.rows import count_rows

RunCommand = Callable[[Sequence[str], Path], None]  # (command, log): RuntimeError when the command fails
SPENT = "spent.json"
FLAG = re.compile(r"--[\w.]+(=|$)")  # and no text of several


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
    start, earlier = time.monotonic(), spent(folder)
    try:
        run(command, folder / f"{stage}.log")
    except RuntimeError as e:
        raise RuntimeError(f"{stage} of {folder} failed with {e}; the same command goes on there") from e
    finally:  # what was stopped goes on later, and has its seconds in both
        seconds = round(earlier.get(stage, 0.0) + time.monotonic() - start, 1)
        write_json(folder / SPENT, earlier | {stage: seconds})
    note = {"seconds": seconds, "command": redacted_words(command)}
    write_json(folder / "stages.json", read_stages(folder) | {stage: note})


def spent(folder: Path) -> dict[str, float]:
    """Stage -> seconds of all its starts, but those that were killed."""
    path = folder / SPENT
    return {stage: float(seconds) for stage, seconds in (read_object(path) if path.is_file() else {}).items()}


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
