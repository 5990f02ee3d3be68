"""Where the groups and the visits of a dump's rows begin; each ends where the next one begins.

A row is a completion. A group is the rows of one state, a visit the groups of one problem's states, s_0 first.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

OF_VISIT = ("group_id", "problem_id", "state_index")  # the columns that tell


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
