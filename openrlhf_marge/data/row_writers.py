"""Writes rows into a JSONL or Parquet file, which takes its name only once it is whole."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from openrlhf_marge.data.files import whole, writing
from openrlhf_marge.data.rows import is_parquet

WriteRow = Callable[[dict[str, Any]], object]
BATCH_ROWS = 4096  # written to Parquet at once


@contextmanager
def row_writer(path: Path, schema: pa.Schema) -> Iterator[WriteRow]:
    """A function that writes a row with the schema's columns; nothing is left of a file whose body raises."""
    is_new = not path.parent.exists()
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with _parquet(path, schema) if is_parquet(path) else _jsonl(path, schema) as write:
            yield write
    except BaseException:
        if is_new:
            path.parent.rmdir()
        raise


@contextmanager
def _jsonl(path: Path, schema: pa.Schema) -> Iterator[WriteRow]:
    with writing(path) as file:
        yield lambda row: file.write(json.dumps({n: row[n] for n in schema.names}, ensure_ascii=False) + "\n")


@contextmanager
def _parquet(path: Path, schema: pa.Schema) -> Iterator[WriteRow]:
    waiting: list[dict[str, Any]] = []

    def flush() -> None:
        file.write_table(pa.Table.from_pylist(waiting, schema=schema))
        waiting.clear()

    def write(row: dict[str, Any]) -> None:
        waiting.append(row)
        if len(waiting) == BATCH_ROWS:
            flush()

    with whole(path) as part, pq.ParquetWriter(part, schema, compression="zstd", write_page_checksum=True) as file:
        yield write
        flush()
