"""Finds and checks the files of a dump for readers that stream them, and gives columns as Python values."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from openrlhf_marge.data.dump import IDS, SCHEMA, dump_files
from openrlhf_marge.data.parquet import check_values, open_file, reading
from openrlhf_marge.data.visits import GROUP_SIZE, OF_WHOLE, check_whole
from openrlhf_marge.types import TokenIds


def find_files(folders: Sequence[str | os.PathLike]) -> list[Path]:
    """The files of the dumps in order of the folders and of their rollouts; ValueError when a folder has none."""
    return [path for folder in folders for path in dump_files(folder)]


def check_file(path: Path, columns: Sequence[str]) -> int:
    """Rows of a file; ValueError naming it when it is torn or lacks any of the columns (but ``GROUP_SIZE``)."""
    file = open_file(path)
    found = file.schema_arrow
    if missing := [name for name in columns if name not in (*found.names, GROUP_SIZE)]:
        raise ValueError(f"{path} lacks the columns {', '.join(missing)}, so it is no file of --marge.dump_dir")
    for name in there(columns, found):
        if found.field(name).type != SCHEMA.field(name).type:
            raise ValueError(
                f"{path}: the column {name} is {found.field(name).type} and not {SCHEMA.field(name).type} as "
                "--marge.dump_dir writes it"
            )
    return file.metadata.num_rows


def there(columns: Sequence[str], schema: pa.Schema) -> list[str]:
    """Those of the columns that a file of this schema has."""
    return [name for name in columns if name in schema.names]


def read_whole(path: Path) -> pa.Table:
    """The columns ``OF_WHOLE`` of a file; ValueError naming it when rows of a group or of a visit are missing."""
    file = open_file(path)
    with reading(path):
        table = file.read(columns=there(OF_WHOLE, file.schema_arrow))
        check_values(table)
        check_whole(table)
    return table


def values_of(column: pa.ChunkedArray) -> list:
    """Python values, of token ids tuples; null ones are empty. For those many times faster than ``to_pylist``."""
    array = column.combine_chunks()
    if array.type != IDS:
        return array.to_pylist()
    ends = np.cumsum(array.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)).tolist()
    flat: TokenIds = tuple(array.flatten().to_numpy(zero_copy_only=False).tolist())
    return [flat[start:end] for start, end in zip([0, *ends], ends, strict=False)]
