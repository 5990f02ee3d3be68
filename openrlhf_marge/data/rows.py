"""Streams rows of JSONL and Parquet files, each with its file and line for error messages."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from openrlhf_marge.models import one_line

BATCH_ROWS = 1024  # of a Parquet file in memory at once
MAX_ROW_BYTES = 64 * 2**20  # of a line of JSON


@dataclass(frozen=True, slots=True)
class Row:
    """``place`` as in "FILE, line 3", counted from 1."""

    place: str
    values: dict[str, Any]

    def text(self, key: str, flag: str, *, may_be_empty: bool = False) -> str:
        """The text, or number as text, under ``key``; ValueError naming the place when there is none."""
        value = self.values.get(key)
        if value is None and key in self.values:
            raise ValueError(f"{self.place}: the value of {key!r} ({flag}) is null; fill it or drop the row")
        if value is None:
            raise ValueError(f"{self.place}: the key {key!r} ({flag}) is missing; there is {', '.join(self.values)}")
        if isinstance(value, bool) or not isinstance(value, (str, int, float)):
            raise ValueError(f"{self.place}: the value of {key!r} ({flag}) is a {type(value).__name__} and no text")
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"{self.place}: the value of {key!r} ({flag}) is {value}; fill it or drop the row")
        if not may_be_empty and not str(value).strip():
            raise ValueError(f"{self.place}: the value of {key!r} ({flag}) is empty; fill it or drop the row")
        return str(value)


def count_rows(path: Path) -> int:
    """Rows of a .parquet or, with any other ending, JSONL file; ValueError when it is missing or has none."""
    if not path.is_file():
        raise ValueError(f"{path} is a folder; name a file" if path.is_dir() else f"{path}: there is no such file")
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
        except UnicodeDecodeError as e:
            raise ValueError(f"{path}, line {number} is not UTF-8 ({e.reason}); save it as UTF-8, uncompressed") from e
        except (ValueError, RecursionError) as e:
            what = f"{e.msg}, character {e.colno}" if isinstance(e, json.JSONDecodeError) else e
            raise ValueError(f"{path}, line {number} is not JSON: {what}; mend or drop the row") from e
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
    with _open_parquet(path) as file:
        try:
            for batch in file.iter_batches(BATCH_ROWS):
                for values in batch.to_pylist():
                    number += 1
                    yield Row(f"{path}, row {number}", values)
        except (pa.ArrowException, OSError, ValueError) as e:
            raise ValueError(f"{path} cannot be read after row {number}: {one_line(e)}") from e
        if number != file.metadata.num_rows:  # of some pages that were changed Arrow gives none
            raise ValueError(f"{path} has {file.metadata.num_rows} rows, of which {number} can be read")


def _open_parquet(path: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path, page_checksum_verification=True)
    except Exception as e:  # of changed bytes Arrow raises what it likes
        raise ValueError(f"{path} is no Parquet file: {one_line(e)}") from e
