"""Where the groups and the visits of a dump's rows begin, and whether these are whole.

A row is a completion. A group is the rows of one state, a visit the groups of one problem's states, s_0 first. Each
ends where the next one begins, so a group that lost rows looks like a smaller one: the rows say how many there were.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from openrlhf_marge.data.parquet import check_file, check_values, read_all, reading
from openrlhf_marge.data.plurals import counted

OF_VISIT = ("group_id", "problem_id", "state_index")  # the columns that tell
GROUP_SIZE = "group_size"  # what dumps of versions up to 0.1 lack
OF_WHOLE = (*OF_VISIT, "n_states", GROUP_SIZE)  # the columns that tell whether all rows are there


def group_starts(group_ids: np.ndarray) -> np.ndarray:
    """Rows at which a group begins, ascending; ``group_ids`` of shape (rows,), of rows in the order written."""
    return np.flatnonzero(np.concatenate([[True], group_ids[1:] != group_ids[:-1]])[: len(group_ids)])


def visit_starts(table: pa.Table) -> np.ndarray:
    """Rows at which a visit begins, ascending: at a group of another problem, and at every group of s_0.

    ``table`` has the columns ``OF_VISIT``, without empty values.
    """
    problems = table["problem_id"].combine_chunks().dictionary_encode().indices
    starts = group_starts(table["group_id"].to_numpy())
    problem, state = problems.to_numpy()[starts], table["state_index"].to_numpy()[starts]
    return starts[np.concatenate([[True], (problem[1:] != problem[:-1]) | (state[1:] == 0)])[: len(starts)]]


def read_whole(path: Path, columns: Sequence[str] = OF_WHOLE) -> pa.Table:
    """Those of the columns that a file has, with ``OF_WHOLE`` among them.

    ValueError naming the file when it is torn, or when rows of a group or of a visit are missing.
    """
    check_file(path, columns)
    table = read_all(path, columns)
    with reading(path):
        check_values(table)
        check_whole(table)
    return table


def check_whole(table: pa.Table, before: int = 0) -> None:
    """ValueError naming the row of a group that lacks completions or has too many, or of a visit that lacks states.

    ``table`` has whole visits and the columns ``OF_WHOLE``, of which ``GROUP_SIZE`` may be missing or empty: then the
    groups are not checked. In their file ``before`` rows come before them.
    """
    if not len(table):
        return
    groups, visits = group_starts(table["group_id"].to_numpy()), visit_starts(table)
    if GROUP_SIZE in table.column_names and not table[GROUP_SIZE].null_count:
        _check_counts(table, "completion", "state", groups, np.diff([*groups, len(table)]), before)
    states = np.diff(np.searchsorted(groups, [*visits, len(table)]))
    _check_counts(table, "state", "visit", visits, states, before)


def _check_counts(table: pa.Table, part: str, whole: str, starts: np.ndarray, found: np.ndarray, before: int) -> None:
    """That every row says how many parts were found from its start on."""
    said = table[GROUP_SIZE if whole == "state" else "n_states"].to_numpy()
    wrong = np.flatnonzero(said != np.repeat(found, np.diff([*starts, len(table)])))
    if len(wrong):
        row = int(wrong[0])
        place = np.searchsorted(starts, row, side="right") - 1
        raise ValueError(
            f"from row {before + int(starts[place]) + 1} on a {whole} of the problem "
            f"{table['problem_id'][row].as_py()!r:.80} has {counted(int(found[place]), part)}, where the run wrote "
            f"{said[row]}: rows are missing, doubled or in another order; copy the file again, or leave out whole "
            "visits only"
        )
