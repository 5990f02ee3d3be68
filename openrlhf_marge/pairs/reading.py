"""A dump as a stream of visits: some thousand rows in memory at a time, whatever the size of a file.

``dump.read_groups`` makes Python objects of a whole file at once, which takes minutes and gigabytes for a long run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice, pairwise, repeat
from pathlib import Path

import numpy as np
import pyarrow as pa

from openrlhf_marge.data.columns import values_of
from openrlhf_marge.data.dump_reading import group_of
from openrlhf_marge.data.parquet import OF_GUIDANCE, batches, check_file, check_values, reading
from openrlhf_marge.data.visits import GROUP_SIZE, check_whole, group_starts, visit_starts
from openrlhf_marge.method.groups import StateGroup
from openrlhf_marge.pairs.base import Builder, VisitGroups
from openrlhf_marge.types import Completion

BATCH_ROWS = 2048
OF_COMPLETION = ("token_ids", "reward", "is_correct", "truncated")
OF_GROUP = (
    "group_id", "problem_id", "prompt", "label", "prompt_ids", "max_response_tokens", "state_index", "n_states",
    "position", "prefix_ids", "segment", "value_gain", "guidance_id", *OF_GUIDANCE,
)  # fmt: skip
COLUMNS = [*OF_GROUP, *OF_COMPLETION, GROUP_SIZE]
LOGS = "extra_logs"


def columns_of(builder: Builder) -> list[str]:
    """What is read of a dump for a builder."""
    return [*COLUMNS, LOGS] if getattr(builder, "reads_logs", False) else COLUMNS


def read_visits(
    path: Path, progress: Callable[[int], object] = lambda rows: None, columns: Sequence[str] = COLUMNS
) -> Iterator[VisitGroups]:
    """The groups of every visit, in the order written; ``progress`` is told the rows of each batch read.

    ValueError naming a file that is torn, or lacks rows of a group or of a visit.
    """
    check_file(path, columns)
    rest: pa.Table | None = None
    read = 0  # rows before those of ``table``
    with reading(path):
        for batch in batches(path, BATCH_ROWS, columns):
            check_values(batch)
            table = batch if rest is None else pa.concat_tables([rest, batch])
            *starts, last = visit_starts(table).tolist()  # the last visit may go on in the next batch
            yield from _visits(table.slice(0, last), starts, read)
            rest, read = table.slice(last), read + last
            progress(len(batch))
        if rest is not None:
            yield from _visits(rest, [0], read)


def _visits(table: pa.Table, starts: list[int], before: int) -> Iterator[VisitGroups]:
    """The visits that begin at these rows, the first one at 0; in the file so many rows come before them."""
    if not starts:
        return
    check_whole(table, before)
    of_group = group_starts(table["group_id"].to_numpy())
    groups = _groups(table, of_group.tolist())
    for start, end in pairwise(np.searchsorted(of_group, [*starts, len(table)]).tolist()):
        yield tuple(islice(groups, end - start))


def _groups(table: pa.Table, starts: list[int]) -> Iterator[StateGroup]:
    """As ``dump.read_groups``, without what only training needs."""
    ids, *columns = (values_of(table[name]) for name in OF_COMPLETION)
    logs = values_of(table[LOGS]) if LOGS in table.column_names else repeat((), len(table))
    completions = [
        Completion(
            token_ids=i, reward=r, is_correct=c, truncated=t, extra_logs=tuple((x["name"], x["value"]) for x in told)
        )
        for i, r, c, t, told in zip(ids, *columns, logs, strict=True)
    ]  # fmt: skip
    firsts = table.select(OF_GROUP).take(pa.array(starts))
    shared = zip(*(values_of(firsts[name]) for name in OF_GROUP), strict=True)
    for (start, end), values in zip(pairwise([*starts, len(table)]), shared, strict=True):
        yield group_of(dict(zip(OF_GROUP, values, strict=True)), tuple(completions[start:end]))
