"""The files of a dump -> the sums that the figures are made of; columns are streamed, never whole completions."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from openrlhf_marge.dump_reading import check_filled, not_whole, open_file
from openrlhf_marge.figures.moments import Moments
from openrlhf_marge.metrics import binary_entropy

COLUMNS = ("group_id", "state_index", "guidance_is_correct", "reward", "is_correct", "token_ids")
BATCH_ROWS = 8192
Kind = Literal["correct", "incorrect"]  # of the guidance
KINDS: dict[bool, Kind] = {True: "correct", False: "incorrect"}
Values = dict[tuple[Kind, int], Moments]  # of V(s_j), by the kind of the guidance and j


@dataclass(frozen=True, slots=True)
class DumpTotals:
    """Of the groups of a file; ``entropy`` and ``valid_pairs`` as ``metrics.pairs_per_token`` sums them."""

    tokens: int = 0  # of completions
    completions: int = 0
    entropy: float = 0.0  # bits
    valid_pairs: int = 0
    values: Values = field(default_factory=dict)


def read_totals(path: Path, progress: Callable[[int], object] = lambda rows: None) -> DumpTotals:
    """The sums of a file; ValueError naming one that is torn. ``progress`` is told the rows of each batch read."""
    columns = _read_columns(path, progress)
    ids = columns["group_id"]
    if not len(ids):
        return DumpTotals()
    starts = np.concatenate([[0], np.flatnonzero(ids[1:] != ids[:-1]) + 1])
    sizes = np.diff([*starts, len(ids)])
    correct = np.add.reduceat(columns["is_correct"], starts)
    values = np.add.reduceat(columns["reward"], starts) / sizes
    how_often = Counter(zip(sizes.tolist(), values.tolist(), strict=True))
    return DumpTotals(
        tokens=int(columns["token_ids"].sum()),
        completions=len(ids),
        entropy=sum(count * n * binary_entropy(value) for (n, value), count in how_often.items()),
        valid_pairs=int(np.minimum(correct, sizes - correct).sum()),
        values=_by_state(columns["guidance_is_correct"][starts], columns["state_index"][starts], values),
    )


def _read_columns(path: Path, progress: Callable[[int], object]) -> dict[str, np.ndarray]:
    """One number per row: of ``token_ids`` their count, of ``guidance_is_correct`` 1, 0, or -1 without guidance."""
    parts: dict[str, list[np.ndarray]] = {name: [np.empty(0, dtype=np.int64)] for name in COLUMNS}
    try:
        for batch in open_file(path).iter_batches(BATCH_ROWS, columns=list(COLUMNS)):
            check_filled(pa.Table.from_batches([batch]))
            for name, part in parts.items():
                part.append(_numbers(batch[name]))
            progress(len(batch))
    except (pa.ArrowException, OSError) as e:  # the first are ValueErrors, too
        raise not_whole(path, e) from e
    except ValueError as e:
        raise ValueError(f"{path}: {e}") from e
    return {name: np.concatenate(part) for name, part in parts.items()}


def _numbers(column: pa.Array) -> np.ndarray:
    if pa.types.is_list(column.type):
        column = pc.list_value_length(column)
    if pa.types.is_boolean(column.type):
        column = column.cast(pa.int8()).fill_null(-1)
    return column.to_numpy(zero_copy_only=False)


def _by_state(of_correct: np.ndarray, indices: np.ndarray, values: np.ndarray) -> Values:
    found: Values = defaultdict(Moments)
    for is_correct, kind in KINDS.items():
        for index in np.unique(indices[of_correct == is_correct]).tolist():
            found[kind, index] = Moments.of(values[(of_correct == is_correct) & (indices == index)].tolist())
    return dict(found)
