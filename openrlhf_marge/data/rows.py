"""JSONL and Parquet files as streams of rows that know where they stand; files that are whole or not there."""

from __future__ import annotations

import csv
import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, TextIO

import pyarrow as pa
import pyarrow.parquet as pq

BATCH_ROWS = 1024  # of a Parquet file in memory at once
MAX_ROW_BYTES = 64 * 2**20  # of a line of JSON
LOCAL_ENDINGS = (".json", ".jsonl", ".csv", ".parquet", ".arrow")


@dataclass(frozen=True, slots=True)
class Row:
    """``place`` as in "FILE, line 3", counted from 1."""

    place: str
    values: dict[str, Any]

    def text(self, key: str, flag: str, *, may_be_empty: bool = False) -> str:
        """The text, or number as text, under ``key``; ValueError naming the place when there is none."""
        value = self.values.get(key)
        if value is None:
            raise ValueError(f"{self.place}: the key {key!r} ({flag}) is missing; there is {', '.join(self.values)}")
        if isinstance(value, bool) or not isinstance(value, (str, int, float)):
            raise ValueError(f"{self.place}: the value of {key!r} ({flag}) is a {type(value).__name__} and no text")
        if not may_be_empty and not str(value).strip():
            raise ValueError(f"{self.place}: the value of {key!r} ({flag}) is empty; fill it or drop the row")
        return str(value)


def count_rows(path: Path) -> int:
    """Rows of a .parquet or, with any other ending, JSONL file; ValueError when it is missing or has none."""
    if not path.is_file():
        raise ValueError(f"{path}: there is no such file")
    if is_parquet(path):
        with _open_parquet(path) as file:
            rows = file.metadata.num_rows
    else:
        rows = sum(1 for _, line in _lines(path) if line.strip())
    if not rows:
        raise ValueError(f"{path} has no rows")
    return rows


def read_rows(path: Path) -> Iterator[Row]:
    """The rows in order; blank lines are none. ValueError naming file and line of one that cannot be read."""
    return _parquet_rows(path) if is_parquet(path) else _jsonl_rows(path)


def is_parquet(path: Path) -> bool:
    return path.suffix == ".parquet"


def _jsonl_rows(path: Path) -> Iterator[Row]:
    for number, line in _lines(path):
        if not line.strip():
            continue
        try:
            values = json.loads(line.decode("utf-8-sig" if number == 1 else "utf-8"))
        except (ValueError, RecursionError) as e:
            raise ValueError(f"{path}, line {number} is not JSON: {e}") from e
        if not isinstance(values, dict):
            raise ValueError(f"{path}, line {number} is JSON but no object with keys")
        yield Row(f"{path}, line {number}", values)


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Number, from 1 on, and bytes; ValueError for a line so long that it would fill the memory."""
    with path.open("rb") as file:
        for number in count(1):
            line = file.readline(MAX_ROW_BYTES + 1)
            if len(line) > MAX_ROW_BYTES:
                raise ValueError(f"{path}, line {number} has more than {MAX_ROW_BYTES} bytes; split or drop the row")
            if not line:
                return
            yield number, line


def _parquet_rows(path: Path) -> Iterator[Row]:
    number = 0
    try:
        with _open_parquet(path) as file:
            for batch in file.iter_batches(BATCH_ROWS):
                for values in batch.to_pylist():
                    number += 1
                    yield Row(f"{path}, row {number}", values)
    except pa.ArrowException as e:
        raise ValueError(f"{path} cannot be read after row {number}: {e}") from e


def _open_parquet(path: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path)
    except (pa.ArrowException, OSError) as e:
        raise ValueError(f"{path} is no Parquet file: {e}") from e


def check_out(out: Path) -> None:
    """ValueError when ``--out`` cannot be written."""
    if out.is_dir():
        raise ValueError(f"--out {out} is a folder; name a file")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=out.parent).close()
    except OSError as e:
        raise ValueError(f"--out {out} cannot be written: {e}; choose another place") from e


def check_out_folder(out: Path) -> None:
    """ValueError when ``--out`` is a file."""
    if out.exists() and not out.is_dir():
        raise ValueError(f"--out {out} is a file; name a folder")


def check_local_files(flag: str, paths: str) -> None:
    """ValueError naming a file that is not there; ``paths`` as in OpenRLHF: PATH or PATH@SPLIT, commas between."""
    for path in (p.split("@")[0].strip() for p in paths.split(",")):
        if path.endswith(LOCAL_ENDINGS) and not os.path.exists(path):
            raise ValueError(f"{flag} {path}: there is no such file")


@contextmanager
def writing(path: Path) -> Iterator[TextIO]:
    """A text file that takes its name only once it is whole."""
    part = path.with_name(path.name + ".part")
    try:
        # Half a surrogate pair, which JSON may hold and UTF-8 may not, is written as JSON's own escape of it.
        with part.open("w", encoding="utf-8", errors="backslashreplace") as file:
            yield file
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[str | int | float | None]]) -> None:
    """Numbers with six digits, so that rounding of other machines does not show; an empty cell for None."""
    with writing(path) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows([f"{cell:.6g}" if isinstance(cell, float) else cell for cell in row] for row in rows)
