"""A dump as a stream of visits: some thousand rows in memory at a time, whatever the size of a file.

``dump.read_groups`` makes Python objects of a whole file at once, which takes minutes and gigabytes for a long run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa

from openrlhf_marge.data.columns import OF_GUIDANCE, check_filled, not_whole, open_file, values_of
from openrlhf_marge.data.dump import group_of
from openrlhf_marge.pairs.base import Visit
from openrlhf_marge.types import Completion, StateGroup

BATCH_ROWS = 2048
OF_COMPLETION = ("token_ids", "reward", "is_correct", "truncated")
OF_GROUP = (
    "group_id", "problem_id", "prompt", "label", "prompt_ids", "max_response_tokens", "state_index", "n_states",
    "position", "prefix_ids", "segment", "value_gain", "guidance_id", *OF_GUIDANCE,
)  # fmt: skip
COLUMNS = [*OF_GROUP, *OF_COMPLETION]


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
        for batch in open_file(path).iter_batches(BATCH_ROWS, columns=COLUMNS):
            table = pa.Table.from_batches([batch])
            table = table if rest is None else pa.concat_tables([rest, table])
            ends = _group_ends(table)
            yield from _groups(table, [0, *ends])
            rest = table.slice(ends[-1] if ends else 0)
            progress(len(batch))
        if rest is not None and len(rest):
            yield from _groups(rest, [0, len(rest)])
    except (pa.ArrowException, OSError) as e:  # the first are ValueErrors, too
        raise not_whole(path, e) from e
    except ValueError as e:
        raise ValueError(f"{path}: {e}") from e


def _group_ends(table: pa.Table) -> list[int]:
    """Rows at which the next group begins; the last group may go on in the next batch and has none."""
    ids = table["group_id"].to_numpy()
    return (np.flatnonzero(ids[1:] != ids[:-1]) + 1).tolist()


def _groups(table: pa.Table, bounds: list[int]) -> Iterator[StateGroup]:
    """The groups between consecutive bounds."""
    if len(bounds) < 2:
        return
    table = table.slice(0, bounds[-1])
    check_filled(table)
    ids, *columns = (values_of(table[name]) for name in OF_COMPLETION)
    completions = [
        Completion(token_ids=i, reward=r, is_correct=c, truncated=t) for i, r, c, t in zip(ids, *columns, strict=True)
    ]
    firsts = table.select(OF_GROUP).take(pa.array(bounds[:-1]))
    shared = zip(*(values_of(firsts[name]) for name in OF_GROUP), strict=True)
    for (start, end), values in zip(pairwise(bounds), shared, strict=True):
        yield group_of(dict(zip(OF_GROUP, values, strict=True)), tuple(completions[start:end]))
