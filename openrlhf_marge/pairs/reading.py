"""A dump as a stream of visits: some thousand rows in memory at a time, whatever the size of a file.

``dump.read_groups`` makes Python objects of a whole file at once, which takes minutes and gigabytes for a long run.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from openrlhf_marge.dump import SCHEMA, dump_files, group_of
from openrlhf_marge.pairs.base import Visit
from openrlhf_marge.types import Completion, StateGroup, TokenIds

BATCH_ROWS = 2048
OF_COMPLETION = ("token_ids", "reward", "is_correct", "truncated")
OF_GUIDANCE = ("guidance_ids", "guidance_is_correct", "guidance_pass_rate", "guidance_visit")
OF_GROUP = (
    "group_id", "problem_id", "prompt", "label", "prompt_ids", "max_response_tokens", "state_index", "n_states",
    "position", "prefix_ids", "segment", "value_gain", "guidance_id", *OF_GUIDANCE,
)  # fmt: skip
COLUMNS = [*OF_GROUP, *OF_COMPLETION]
MAY_BE_NULL = {"guidance_id", *OF_GUIDANCE}


def find_files(folders: Sequence[str | os.PathLike]) -> list[Path]:
    """The files of the dumps in order of the folders and of their rollouts; ValueError when a folder has none."""
    return [path for folder in folders for path in dump_files(folder)]


def check_file(path: Path) -> int:
    """Rows of a file; ValueError naming it when it is torn or lacks columns."""
    file = _open(path)
    found = file.schema_arrow
    if missing := [name for name in COLUMNS if name not in found.names]:
        raise ValueError(f"{path} lacks the columns {', '.join(missing)}, so it is no file of --marge.dump_dir")
    for name in COLUMNS:
        if found.field(name).type != SCHEMA.field(name).type:
            raise ValueError(
                f"{path}: the column {name} is {found.field(name).type} and not {SCHEMA.field(name).type} as "
                "--marge.dump_dir writes it"
            )
    return file.metadata.num_rows


def read_visits(path: Path, progress: Callable[[int], object] = lambda rows: None) -> Iterator[Visit]:
    """The groups of every visit, in the order written; ``progress`` is told the rows of each batch read."""
    visit: list[StateGroup] = []
    for group in read_groups(path, progress):
        if visit and (group.state.index == 0 or group.problem.id != visit[0].problem.id):
            yield tuple(visit)
            visit = []
        visit.append(group)
    if visit:
        yield tuple(visit)


def read_groups(path: Path, progress: Callable[[int], object]) -> Iterator[StateGroup]:
    """As ``dump.read_groups``, without what only training needs."""
    rest: pa.Table | None = None
    try:
        for batch in _open(path).iter_batches(BATCH_ROWS, columns=COLUMNS):
            table = pa.Table.from_batches([batch])
            table = table if rest is None else pa.concat_tables([rest, table])
            ends = _group_ends(table)
            yield from _groups(table, [0, *ends])
            rest = table.slice(ends[-1] if ends else 0)
            progress(len(batch))
        if rest is not None and len(rest):
            yield from _groups(rest, [0, len(rest)])
    except (pa.ArrowException, OSError) as e:  # the first are ValueErrors, too
        raise ValueError(f"{path} is not a whole dump file: {e}; remove it or copy it again") from e
    except ValueError as e:
        raise ValueError(f"{path}: {e}") from e


def _open(path: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path, buffer_size=2**20)  # otherwise a row group's column is read at once
    except (pa.ArrowException, OSError) as e:
        raise ValueError(f"{path} is not a whole dump file: {e}; remove it or copy it again") from e


def _group_ends(table: pa.Table) -> list[int]:
    """Rows at which the next group begins; the last group may go on in the next batch and has none."""
    ids = table["group_id"].to_numpy()
    return (np.flatnonzero(ids[1:] != ids[:-1]) + 1).tolist()


def _groups(table: pa.Table, bounds: list[int]) -> Iterator[StateGroup]:
    """The groups between consecutive bounds."""
    if len(bounds) < 2:
        return
    table = table.slice(0, bounds[-1])
    for name in COLUMNS:
        if name not in MAY_BE_NULL and table[name].null_count:
            raise ValueError(f"the column {name} is empty in some of its rows")
    ids, *columns = (_values(table[name]) for name in OF_COMPLETION)
    completions = [
        Completion(token_ids=i, reward=r, is_correct=c, truncated=t) for i, r, c, t in zip(ids, *columns, strict=True)
    ]
    firsts = table.select(OF_GROUP).take(pa.array(bounds[:-1]))
    shared = zip(*(_values(firsts[name]) for name in OF_GROUP), strict=True)
    for (start, end), values in zip(pairwise(bounds), shared, strict=True):
        yield group_of(dict(zip(OF_GROUP, values, strict=True)), tuple(completions[start:end]))


def _values(column: pa.ChunkedArray) -> list:
    """Python values, of lists of ids tuples; null lists are empty ones. Many times faster than ``to_pylist``."""
    array = column.combine_chunks()
    if not pa.types.is_list(array.type):
        return array.to_pylist()
    ends = np.cumsum(array.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)).tolist()
    flat: TokenIds = tuple(array.flatten().to_numpy(zero_copy_only=False).tolist())
    return [flat[start:end] for start, end in zip([0, *ends], ends, strict=False)]
