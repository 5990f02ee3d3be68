"""Opens Parquet files of a dump; whatever is wrong with one is a ValueError that names it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from openrlhf_marge.data.schema import SCHEMA
from openrlhf_marge.models import one_line

OF_GUIDANCE = ("guidance_ids", "guidance_is_correct", "guidance_pass_rate", "guidance_visit")
ADDED = ("group_size", "advantages")  # columns that files of versions up to 0.1 lack; those of today have both
NEWEST = "chose_guidance"  # and this one, which files before it lack
# Empty where there was nothing to write.
MAY_BE_NULL = {"guidance_id", *OF_GUIDANCE, *ADDED, NEWEST, "log_probs"}


def open_file(path: Path) -> pq.ParquetFile:
    """For streaming; ValueError naming a file that is torn. Reading finds pages that were changed."""
    try:
        # Without a buffer size a row group's column is read at once.
        return pq.ParquetFile(path, buffer_size=2**20, page_checksum_verification=True)
    except Exception as e:  # of changed bytes Arrow raises what it likes
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
    return ValueError(f"{path} is not a whole dump file: {one_line(error)}; remove it or copy it again")


def check_file(path: Path, columns: Sequence[str]) -> int:
    """Rows of a file; ValueError naming it when it is torn or lacks any of the columns.

    Files of versions up to 0.1 may lack ``ADDED``, later ones ``NEWEST``.
    """
    file = open_file(path)
    found = file.schema_arrow
    old = (NEWEST,) if ADDED[0] in found.names else (*ADDED, NEWEST)
    if missing := [name for name in columns if name not in (*found.names, *old)]:
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


def batches(path: Path, size: int, columns: Sequence[str]) -> Iterator[pa.Table]:
    """All rows of a file in tables of at most so many, of those of the columns that it has; for use in ``reading``.

    ValueError when there are fewer or more than the file says: of some pages that were changed Arrow gives none.
    """
    file, rows = open_file(path), 0
    for batch in file.iter_batches(size, columns=there(columns, file.schema_arrow)):
        rows += len(batch)
        yield pa.Table.from_batches([batch])
    _check_rows(file, rows)


def read_all(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """The rows of a file at once, as ``batches``; ValueError naming the file."""
    file = open_file(path)
    with reading(path):
        table = file.read(columns=None if columns is None else there(columns, file.schema_arrow))
        _check_rows(file, len(table))
    return table


def _check_rows(file: pq.ParquetFile, rows: int) -> None:
    if rows != file.metadata.num_rows:
        raise ValueError(f"{rows} rows can be read of the {file.metadata.num_rows} that it has; copy it again")


def check_values(table: pa.Table) -> None:
    """ValueError naming the first column that lacks values it must have, and for rewards outside of [0, 1]."""
    for name in table.column_names:
        if name not in MAY_BE_NULL and table[name].null_count:
            raise ValueError(f"the column {name} is empty in some of its rows")
    if "reward" in table.column_names:
        rewards = table["reward"].to_numpy()
        if not ((rewards >= 0) & (rewards <= 1)).all():  # also false for NaN
            raise ValueError("the column reward holds a number outside of [0, 1]")
