"""The files of a dump -> the sums that the figures are made of; columns are streamed, never whole completions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from openrlhf_marge.data.parquet import NEWEST, batches, check_file, check_values, reading
from openrlhf_marge.data.visits import group_starts, read_whole
from openrlhf_marge.figures.clustered import Clustered
from openrlhf_marge.method.metrics import outcome_diversity

COLUMNS = (
    *("group_id", "problem_id", "state_index", "n_states", "guidance_is_correct", "reward", "is_correct"),
    "token_ids",
    NEWEST,
)
BATCH_ROWS = 8192
GuidanceKind = Literal["correct", "incorrect"]
KINDS: dict[bool, GuidanceKind] = {True: "correct", False: "incorrect"}
Values = dict[tuple[GuidanceKind, int], Clustered]  # V(s_j) by the kind of the guidance and j, clustered by problem


@dataclass(frozen=True, slots=True)
class DumpTotals:
    """Sums over the groups of a file; ``diversity`` and ``valid_pairs`` as ``metrics.pairs_per_token`` sums them."""

    tokens: int = 0  # of completions
    completions: int = 0
    diversity: float = 0.0
    valid_pairs: int = 0
    values: Values = field(default_factory=dict)


def read_totals(path: Path, progress: Callable[[int], object] = lambda rows: None) -> DumpTotals:
    """The sums of a file; ValueError naming one that is torn, or lacks rows of a group or of a visit.

    ``progress`` is told the rows of each batch read.
    """
    check_file(path, COLUMNS)
    read_whole(path)
    columns = _read_columns(path, progress)
    ids = columns["group_id"]
    if not len(ids):
        return DumpTotals()
    starts = group_starts(ids)
    sizes = np.diff([*starts, len(ids)])
    correct = np.add.reduceat(columns["is_correct"], starts)
    values = np.add.reduceat(columns["reward"], starts) / sizes
    return DumpTotals(
        tokens=int(columns["token_ids"].sum()),
        completions=len(ids),
        diversity=sum(n * outcome_diversity(k, n) for k, n in zip(correct.tolist(), sizes.tolist(), strict=True)),
        valid_pairs=int(np.minimum(correct, sizes - correct).sum()),
        values=_by_state({name: column[starts] for name, column in columns.items()}, values),
    )


def _read_columns(path: Path, progress: Callable[[int], object]) -> dict[str, np.ndarray]:
    """One entry per row: of ``token_ids`` their count, of what is true or false 1, 0, or -1 where it is not known."""
    parts: dict[str, list[np.ndarray]] = {name: [np.empty(0, dtype=np.int64)] for name in COLUMNS}
    with reading(path):
        for batch in batches(path, BATCH_ROWS, COLUMNS):
            check_values(batch)
            for name in batch.column_names:
                parts[name].append(_entries(batch[name].combine_chunks()))
            if NEWEST not in batch.column_names:
                parts[NEWEST].append(np.full(len(batch), -1))
            progress(len(batch))
    return {name: np.concatenate(part) for name, part in parts.items()}


def _entries(column: pa.Array) -> np.ndarray:
    if pa.types.is_string(column.type):
        encoded = column.dictionary_encode()  # one text for all rows of a problem
        return np.array(encoded.dictionary.to_pylist(), dtype=object)[encoded.indices.to_numpy()]
    if pa.types.is_list(column.type):
        column = pc.list_value_length(column)
    if pa.types.is_boolean(column.type):
        column = column.cast(pa.int8()).fill_null(-1)
    return column.to_numpy(zero_copy_only=False)


def _by_state(first: dict[str, np.ndarray], values: np.ndarray) -> Values:
    """``first``: the columns at the first row of every group; an s_0 that chose its guidance is left out."""
    found: Values = {}
    for is_correct, kind in KINDS.items():
        of_kind = (first["guidance_is_correct"] == is_correct) & (first[NEWEST] != 1)
        for index in np.unique(first["state_index"][of_kind]).tolist():
            chosen = of_kind & (first["state_index"] == index)
            found[kind, index] = Clustered(values[chosen], first["problem_id"][chosen])
    return found
