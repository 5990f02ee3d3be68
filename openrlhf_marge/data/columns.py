"""Finds and checks the files of a dump for readers that stream them, and gives columns as Python values."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from openrlhf_marge.data.dump import IDS, SCHEMA, dump_files
from openrlhf_marge.types import TokenIds

OF_GUIDANCE = ("guidance_ids", "guidance_is_correct", "guidance_pass_rate", "guidance_visit")
MAY_BE_NULL = {"guidance_id", *OF_GUIDANCE}


def find_files(folders: Sequence[str | os.PathLike]) -> list[Path]:
    """The files of the dumps in order of the folders and of their rollouts; ValueError when a folder has none."""
    return [path for folder in folders for path in dump_files(folder)]


def check_file(path: Path, columns: Sequence[str]) -> int:
    """Rows of a file; ValueError naming it when it is torn or lacks any of the columns."""
    file = open_file(path)
    found = file.schema_arrow
    if missing := [name for name in columns if name not in found.names]:
        raise ValueError(f"{path} lacks the columns {', '.join(missing)}, so it is no file of --marge.dump_dir")
    for name in columns:
        if found.field(name).type != SCHEMA.field(name).type:
            raise ValueError(
                f"{path}: the column {name} is {found.field(name).type} and not {SCHEMA.field(name).type} as "
                "--marge.dump_dir writes it"
            )
    return file.metadata.num_rows


def open_file(path: Path) -> pq.ParquetFile:
    """For streaming; ValueError naming a file that is torn."""
    try:
        return pq.ParquetFile(path, buffer_size=2**20)  # otherwise a row group's column is read at once
    except (pa.ArrowException, OSError) as e:
        raise not_whole(path, e) from e


def not_whole(path: Path, error: Exception) -> ValueError:
    return ValueError(f"{path} is not a whole dump file: {error}; remove it or copy it again")


def check_filled(table: pa.Table) -> None:
    """ValueError naming the first column that lacks values it must have."""
    for name in table.column_names:
        if name not in MAY_BE_NULL and table[name].null_count:
            raise ValueError(f"the column {name} is empty in some of its rows")


def values_of(column: pa.ChunkedArray) -> list:
    """Python values, of token ids tuples; null ones are empty. For those many times faster than ``to_pylist``."""
    array = column.combine_chunks()
    if array.type != IDS:
        return array.to_pylist()
    ends = np.cumsum(array.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)).tolist()
    flat: TokenIds = tuple(array.flatten().to_numpy(zero_copy_only=False).tolist())
    return [flat[start:end] for start, end in zip([0, *ends], ends, strict=False)]
