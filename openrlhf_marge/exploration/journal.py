"""Graded completions on disk as soon as the engines give them, for problems whose Parquet file is not written yet.

One JSON line per request, appended to a file per Parquet file: a process killed at any moment leaves at most one torn
line, and network file systems need no locks for it. A line ends with a checksum of what it holds, which versions up to
0.1 did not write.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from openrlhf_marge.types import Completion

FIELDS = ("token_ids", "reward", "is_correct", "truncated", "log_probs", "extra_logs", "weight_versions")
Answers = dict[tuple[str, int], list[Completion]]  # (problem id, request) -> what was sampled


class Journal:
    """``file_of``: problem id -> number of the file that it will be in."""

    def __init__(self, folder: str | os.PathLike, file_of: Mapping[str, int]) -> None:
        self._folder, self._file_of = Path(folder), file_of
        self._folder.mkdir(parents=True, exist_ok=True)
        self._open: dict[int, BinaryIO] = {}
        self._answers: Answers = {}
        for path in sorted(self._folder.glob("*.jsonl")):
            self._answers |= _read(path)

    def get(self, problem_id: str, request: int) -> list[Completion] | None:
        """What a request of a problem gave, None when it was not answered; ``request`` is a digest of it."""
        return self._answers.get((problem_id, request))

    def add(self, problem_id: str, request: int, completions: Sequence[Completion]) -> None:
        """Append an answer; it is with the operating system when this returns."""
        fields = [{name: getattr(c, name) for name in FIELDS} for c in completions]
        number = self._file_of[problem_id]
        if number not in self._open:
            self._open[number] = self._path(number).open("ab", buffering=0)
        answer = [problem_id, request, fields]
        self._open[number].write(json.dumps([*answer, _checksum(answer)]).encode() + b"\n")

    def remove(self, number: int) -> None:
        """Forget the answers that the Parquet file ``number`` holds now."""
        if number in self._open:
            self._open.pop(number).close()
        self._path(number).unlink(missing_ok=True)

    def _path(self, number: int) -> Path:
        return self._folder / f"{number:08d}.jsonl"


def _read(path: Path) -> Answers:
    """The answers of a file; a torn last line, which a killed process left, is cut off it."""
    answers: Answers = {}
    with path.open("r+b") as file:
        end = 0
        for line in file:
            if not line.endswith(b"\n"):
                file.truncate(end)
                break
            end += len(line)
            try:
                problem_id, request, fields = _checked(json.loads(line))
                answers[problem_id, request] = [_completion(row) for row in fields]
            except (ValueError, TypeError, LookupError, RecursionError) as e:
                raise ValueError(f"{path} was changed, its byte {end} ends a line that is no answer; remove it") from e
    return answers


def _checked(line: Any) -> list[Any]:
    """The answer in a line; ValueError when it is another one than was written."""
    *answer, checksum = line if len(line) == 4 else [*line, _checksum(line)]
    if checksum != _checksum(answer):
        raise ValueError("the checksum is another one")
    return answer


def _checksum(answer: Sequence[Any]) -> int:
    """Of the answer as JSON, which reading and writing again does not change."""
    return zlib.crc32(json.dumps(answer).encode())


def _completion(row: dict[str, Any]) -> Completion:
    row["token_ids"], row["weight_versions"] = tuple(row["token_ids"]), tuple(row["weight_versions"])
    row["log_probs"] = None if row["log_probs"] is None else tuple(row["log_probs"])
    row["extra_logs"] = tuple((name, value) for name, value in row["extra_logs"])
    return Completion(**row)
