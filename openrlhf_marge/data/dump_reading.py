"""Reads the files of a dump back: as groups, and what can be told of a file without making any."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from openrlhf_marge.data.parquet import open_file, read_all, reading
from openrlhf_marge.data.schema import SCHEMA, STOP
from openrlhf_marge.data.visits import group_starts, read_whole
from openrlhf_marge.method.groups import StateGroup
from openrlhf_marge.types import Completion, Guidance, Problem, State


def stop_texts(schema: pa.Schema) -> tuple[str, ...]:
    """``--marge.stop`` of the run that wrote a file of this schema: completions hold such a text, and are graded
    without it."""
    return tuple(json.loads((schema.metadata or {}).get(STOP, b"[]")))


def count_trained(files: Sequence[Path]) -> int:
    """Completions that are trained on."""
    return sum(map(_count_trained, files))


def _count_trained(path: Path) -> int:
    file = open_file(path)
    if "advantages" not in file.schema_arrow.names:  # of an earlier version
        return file.metadata.num_rows
    lists = read_all(path, ["advantages"])["advantages"].combine_chunks()
    trained = lists.flatten().is_valid().to_numpy(zero_copy_only=False)
    return lists.null_count + len(np.unique(pc.list_parent_indices(lists).to_numpy()[trained]))


def read_groups(path: Path) -> Iterator[StateGroup]:
    """The groups of one file, in the order in which they were written.

    ValueError naming a file that is torn, or lacks rows of a group or of a visit.
    """
    table = _read_table(path)
    rows, starts = table.to_pylist(), group_starts(table["group_id"].to_numpy()).tolist()
    with reading(path):
        for start, end in pairwise([*starts, len(rows)]):
            yield group_of(rows[start], tuple(map(_completion, rows[start:end])))


def _read_table(path: Path) -> pa.Table:
    table = read_whole(path, SCHEMA.names)
    for name in SCHEMA.names:
        if name not in table.column_names:  # of an earlier version
            table = table.append_column(SCHEMA.field(name), pa.nulls(len(table), SCHEMA.field(name).type))
    return table


def group_of(row: Mapping[str, Any], completions: tuple[Completion, ...]) -> StateGroup:
    """The group that a row belongs to; every row of the group has the same values in the columns read here."""
    guidance = None
    if row["guidance_id"] is not None:
        guidance = Guidance(
            token_ids=tuple(row["guidance_ids"]), is_correct=row["guidance_is_correct"],
            pass_rate=row["guidance_pass_rate"], visit=row["guidance_visit"],
        )  # fmt: skip
    problem = Problem(
        id=row["problem_id"], prompt=row["prompt"], label=row["label"], prompt_ids=tuple(row["prompt_ids"]),
        max_response_tokens=row["max_response_tokens"],
    )  # fmt: skip
    # The parent's place is not kept: what it is needed for, segment and value gain, is.
    state = State(
        index=row["state_index"], prefix_ids=tuple(row["prefix_ids"]), position=row["position"], guidance=guidance,
        segment=row["segment"],
    )  # fmt: skip
    return StateGroup(
        id=row["group_id"], problem=problem, state=state, n_states=row["n_states"], value_gain=row["value_gain"],
        chose_guidance=bool(row.get("chose_guidance")), completions=completions,
    )  # fmt: skip


def _completion(row: dict[str, Any]) -> Completion:
    return Completion(
        token_ids=tuple(row["token_ids"]),
        reward=row["reward"],
        is_correct=row["is_correct"],
        truncated=row["truncated"],
        log_probs=None if row["log_probs"] is None else tuple(row["log_probs"]),
        advantages=None if row["advantages"] is None else tuple(row["advantages"]),
        extra_logs=tuple((log["name"], log["value"]) for log in row["extra_logs"]),
        weight_versions=(row["first_weight_version"], row["last_weight_version"]),
    )
