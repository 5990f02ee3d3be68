"""Finds the visits of a dump by three narrow columns, and reads the rows of chosen visits."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa

from openrlhf_marge.data.columns import values_of
from openrlhf_marge.data.parquet import OF_GUIDANCE, batches, check_file, check_values, reading
from openrlhf_marge.data.visits import OF_VISIT, OF_WHOLE, group_starts, read_whole, visit_starts

BATCH_ROWS = 2048
OF_GROUP = (
    *OF_VISIT, "step", "prompt", "label", "prompt_ids", "prefix_ids", "value_gain", "guidance_id", *OF_GUIDANCE,
)  # fmt: skip
OF_COMPLETION = (
    "token_ids", "reward", "is_correct", "truncated", "advantage", "extra_logs", "first_weight_version",
    "last_weight_version",
)  # fmt: skip
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class VisitRows:
    """One visit of a problem: the rows from ``start`` to before ``end`` of a file, one per completion."""

    problem_id: str
    path: Path
    start: int
    end: int


def find_visits(path: Path) -> list[VisitRows]:
    """All visits of a file in order; ValueError naming a file that is torn, no dump, or lacks rows of a visit."""
    check_file(path, (*OF_WHOLE, *OF_GROUP, *OF_COMPLETION))
    table = read_whole(path)
    starts = visit_starts(table).tolist()
    ids = table["problem_id"].take(pa.array(starts, pa.int64())).to_pylist()
    return [VisitRows(of, path, *rows) for of, rows in zip(ids, pairwise([*starts, len(table)]), strict=True)]


def read_visits(path: Path, visits: Sequence[VisitRows]) -> Iterator[list[tuple[Row, list[Row]]]]:
    """For each of a file's visits, which are in order, its groups: (what its completions share, one row for each)."""
    with reading(path):
        for table in _tables(path, visits):
            check_values(table)
            yield _groups(table)


def _tables(path: Path, visits: Sequence[VisitRows]) -> Iterator[pa.Table]:
    """The rows of each visit; only a few batches are in memory at a time."""
    wanted, first = deque(visits), 0  # number of the first row that is held
    held = None
    for table in batches(path, BATCH_ROWS, [*OF_GROUP, *OF_COMPLETION]):
        held = table if held is None else pa.concat_tables([held, table])
        while wanted and wanted[0].end <= first + len(held):
            visit = wanted.popleft()
            yield held.slice(visit.start - first, visit.end - visit.start)
        if not wanted:
            return
        unused = min(max(wanted[0].start - first, 0), len(held))
        held, first = held.slice(unused), first + unused


def _groups(table: pa.Table) -> list[tuple[Row, list[Row]]]:
    starts = group_starts(table["group_id"].to_numpy()).tolist()
    shared = _rows(table.select(OF_GROUP).take(pa.array(starts)))
    rows = _rows(table.select(OF_COMPLETION))
    return [(row, rows[a:b]) for row, (a, b) in zip(shared, pairwise([*starts, len(table)]), strict=True)]


def _rows(table: pa.Table) -> list[Row]:
    columns = [values_of(table[name]) for name in table.column_names]
    return [dict(zip(table.column_names, values, strict=True)) for values in zip(*columns, strict=True)]
