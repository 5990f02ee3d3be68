"""Opens Parquet files of a dump; whatever is wrong with one is a ValueError that names it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

OF_GUIDANCE = ("guidance_ids", "guidance_is_correct", "guidance_pass_rate", "guidance_visit")
# The last two are empty where there was nothing to write, the first of them in files of versions up to 0.1 throughout.
MAY_BE_NULL = {"guidance_id", *OF_GUIDANCE, "group_size", "advantages", "log_probs"}


def open_file(path: Path) -> pq.ParquetFile:
    """For streaming; ValueError naming a file that is torn. Reading finds pages that were changed."""
    try:
        # Without a buffer size a row group's column is read at once.
        return pq.ParquetFile(path, buffer_size=2**20, page_checksum_verification=True)
    except (pa.ArrowException, OSError) as e:
        raise not_whole(path, e) from e


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """The body reads this file: what it raises names the file."""
    try:
        yield
    except (pa.ArrowException, OSError) as e:  # the first are ValueErrors, too
        raise not_whole(path, e) from e
    except ValueError as e:
        raise ValueError(f"{path}: {e}") from e


def not_whole(path: Path, error: Exception) -> ValueError:
    """Of what Arrow says the begin: it may hold lines, and bytes of the file."""
    said = " ".join(str(error).split())
    return ValueError(f"{path} is not a whole dump file: {said:.300}; remove it or copy it again")


def check_values(table: pa.Table) -> None:
    """ValueError naming the first column that lacks values it must have, and for rewards outside of [0, 1]."""
    for name in table.column_names:
        if name not in MAY_BE_NULL and table[name].null_count:
            raise ValueError(f"the column {name} is empty in some of its rows")
    if "reward" in table.column_names:
        rewards = table["reward"].to_numpy()
        if not ((rewards >= 0) & (rewards <= 1)).all():  # also false for NaN
            raise ValueError("the column reward holds a number outside of [0, 1]")
