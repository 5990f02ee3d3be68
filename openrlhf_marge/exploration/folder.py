"""The folder of an exploration: Parquet files of problems in the order of the data, and what a new start needs.

    rollout-00000001.parquet ...   a dump as of --marge.dump_dir, its ``step`` the number of the file; beside it
    candidates-00000001.parquet    the candidates of its problems, where there were any
    guidance/state_1.msgpack ...   guidance for the next visit of the problems of that file; state_0: from elsewhere
    unfinished/00000001.jsonl      the journal of a file that is not there yet
    settings.json, summary.json    the flags; the totals, written when everything is explored

Which problems a file holds is fixed by their order, so a stop changes no byte of a seeded exploration.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from openrlhf_marge.data.dump import DumpWriter, dump_path
from openrlhf_marge.exploration.journal import Journal
from openrlhf_marge.exploration.totals import Totals, totals_of
from openrlhf_marge.method.groups import Exploration
from openrlhf_marge.method.guidance import GuidancePool, PoolState
from openrlhf_marge.runs.checkpoints import CheckpointStore


@dataclass(frozen=True, kw_only=True)
class FileRecord:
    """What is kept of a file beside its completions."""

    pool: PoolState
    totals: Totals


class ExplorationFolder:
    """Takes explorations in any order; ``problem_ids`` are all problems in the order of the data."""

    def __init__(
        self, folder: str | os.PathLike, problem_ids: Sequence[str], problems_per_file: int, advantage: str,
        stop: Sequence[str] = (),
    ) -> None:  # fmt: skip
        self._problems: dict[int, list[str]] = {}
        for place, problem_id in enumerate(problem_ids):
            self._problems.setdefault(1 + place // problems_per_file, []).append(problem_id)
        self._file_of = {i: number for number, ids in self._problems.items() for i in ids}
        self._folder, self._records = Path(folder), CheckpointStore(Path(folder) / "guidance")
        self._dump = DumpWriter(self._folder, advantage, stop)
        self._explored: dict[str, Exploration] = {}
        self._writing: int | None = None
        self.pool, self.totals = GuidancePool(), Totals()
        self.journal = Journal(self._folder / "unfinished", self._file_of)
        self._read_finished()

    def is_done(self, problem_id: str) -> bool:
        return self._file_of[problem_id] not in self._problems

    def start_from(self, pool: PoolState) -> None:
        """Guidance of an earlier exploration; kept here, too, so that this folder stands alone."""
        self.pool.update(pool)
        self._records.write_state(0, FileRecord(pool=pool, totals=Totals()))

    def add(self, exploration: Exploration) -> None:
        """Take one; the file whose last one it is gets written in the background."""
        self.totals += totals_of([exploration])
        self._explored[exploration.problem_id] = exploration
        number = self._file_of[exploration.problem_id]
        if all(i in self._explored for i in self._problems[number]):
            self._write(number)

    def finish(self) -> None:
        """Write what is left, of files whose other problems were not begun, too; return once it is on disk."""
        for number, ids in list(self._problems.items()):
            if any(i in self._explored for i in ids):
                self._write(number)
        self._settle()

    def _write(self, number: int) -> None:
        """The record goes first: a file is done when its Parquet file is there."""
        self._settle()
        ids = [i for i in self._problems.pop(number) if i in self._explored]
        explorations = [self._explored.pop(i) for i in ids]
        record = FileRecord(pool=self.pool.state_dict(ids), totals=totals_of(explorations))
        self._records.write_state(number, record)
        untrained = [group for e in explorations for group in e.untrained]
        self._dump.write(number, [group for e in explorations for group in e.groups], untrained)
        self._writing = number

    def _settle(self) -> None:
        """Wait for the file that is being written, and drop its journal."""
        self._dump.wait()
        if self._writing is not None:
            self.journal.remove(self._writing)
            self._writing = None

    def _read_finished(self) -> None:
        if 0 in self._records.steps():
            self.pool.update(self._records.read_state(0, FileRecord).pool)
        for number in [n for n in self._problems if dump_path(self._folder, n).is_file()]:
            record = self._records.read_state(number, FileRecord)
            if others := sorted(record.pool.visits.keys() - set(self._problems[number])):
                raise ValueError(
                    f"{dump_path(self._folder, number)} has the problem {others[0]!r:.80}, which is not at this place "
                    "of the data any more; give the data that it was begun with, or another --out"
                )
            self.pool.update(record.pool)
            self.totals += record.totals
            self.journal.remove(number)
            del self._problems[number]


def read_pool(folder: str | os.PathLike) -> PoolState:
    """Guidance of all problems after a finished exploration; ValueError when there is none in ``folder``."""
    records, pool = CheckpointStore(Path(folder) / "guidance"), GuidancePool()
    if not (Path(folder) / "summary.json").is_file():
        raise ValueError(f"{folder} holds no finished exploration (no summary.json); give the --out of one that ended")
    for number in records.steps():
        pool.update(records.read_state(number, FileRecord).pool)
    return pool.state_dict()
