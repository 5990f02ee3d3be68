"""Finds the files of dumps, and gives their columns as Python values."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from openrlhf_marge.data.dump import dump_files
from openrlhf_marge.data.schema import IDS
from openrlhf_marge.types import TokenIds


def find_files(folders: Sequence[str | os.PathLike]) -> list[Path]:
    """The files of the dumps in order of the folders and of their rollouts; ValueError when a folder has none."""
    return [path for folder in folders for path in dump_files(folder)]


def values_of(column: pa.ChunkedArray) -> list:
    """Python values, of token ids tuples; null ones are empty. For those many times faster than ``to_pylist``."""
    array = column.combine_chunks()
    if array.type != IDS:
        return array.to_pylist()
    ends = np.cumsum(array.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)).tolist()
    flat: TokenIds = tuple(array.flatten().to_numpy(zero_copy_only=False).tolist())
    return [flat[start:end] for start, end in zip([0, *ends], ends, strict=False)]
