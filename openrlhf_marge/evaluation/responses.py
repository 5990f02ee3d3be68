"""The responses of an evaluation on disk: one Parquet row per problem, one file per batch, so a crash loses little.

A folder belongs to one data set, model and way of sampling; what is in it is not sampled again. A file takes its name
only once it is whole, and one that cannot be read all the same is put aside as NAME.torn and done again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
from tqdm import tqdm

from openrlhf_marge.data.row_writers import row_writer
from openrlhf_marge.data.rows import read_rows
from openrlhf_marge.evaluation import Response

RESPONSES = pa.list_(
    pa.struct({"text": pa.string(), "answer": pa.string(), "correct": pa.bool_(), "reason": pa.string(),
               "truncated": pa.bool_()})
)  # fmt: skip
SCHEMA = pa.schema({
    "index": pa.int64(), "problem": pa.string(), "label": pa.string(), "prompt": pa.string(), "sampled": RESPONSES,
    "greedy": RESPONSES,
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Answered:
    """A problem, by its place in the data (from 0), with its graded responses; each text has the response prefix."""

    index: int
    problem: str
    label: str
    prompt: str
    sampled: list[Response]
    greedy: list[Response]


class ResponseFolder:
    """The batches in ``path``, which is made."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(parents=True, exist_ok=True)

    def read(self) -> Iterator[Answered]:
        """All problems done so far, a file at a time."""
        for file in sorted(self.path.glob("*.parquet")):
            try:
                rows = [row.values for row in read_rows(file)]
            except ValueError as e:
                tqdm.write(f"{e}; its problems are sampled again")
                file.rename(file.with_name(file.name + ".torn"))
                continue
            for row in rows:
                yield Answered(**row | {kind: [Response(**r) for r in row[kind]] for kind in ("sampled", "greedy")})

    def write(self, batch: Iterable[Answered]) -> None:
        """A file of its own for the batch."""
        rows: list[dict[str, Any]] = [asdict(answered) for answered in batch]
        with row_writer(self.path / f"problems-{rows[0]['index']:08d}.parquet", SCHEMA) as write:
            for row in rows:
                write(row)
