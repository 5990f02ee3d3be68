"""Every completion on disk: one Parquet file per rollout, one row per completion; ``dump_reading.py`` reads them.

    datasets.load_dataset("parquet", data_files="DIR/rollout-*.parquet")

Candidates for a first guidance are in files of their own, `candidates-*.parquet`, with the same columns and the
advantage 0: nothing that trains reads those. The schema's metadata has the stop texts of the run, where it has any.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from openrlhf_marge.data.files import whole
from openrlhf_marge.data.schema import SCHEMA, STOP
from openrlhf_marge.method.advantages import group_advantages, weigh
from openrlhf_marge.method.groups import StateGroup
from openrlhf_marge.types import Completion


class DumpWriter:
    """Writes in the background; what goes wrong there is raised by the next call."""

    def __init__(
        self, folder: str | os.PathLike, advantage: str, stop: Sequence[str] = (), negative_weight: float = 1.0
    ) -> None:
        self._folder = Path(folder)
        self._advantages = partial(_advantages, kind=advantage, negative_weight=negative_weight)
        self._schema = SCHEMA.with_metadata({STOP: json.dumps(stop)}) if stop else SCHEMA
        self._folder.mkdir(parents=True, exist_ok=True)
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="dump")
        self._pending: Future[None] | None = None

    def write(self, step: int, groups: Sequence[StateGroup], untrained: Sequence[StateGroup] = ()) -> None:
        """Queue the files of rollout ``step``; written again after a resume, they take the place of the old ones."""
        self.wait()
        self._pending = self._pool.submit(self._write, step, tuple(groups), tuple(untrained))

    def wait(self) -> None:
        """Return once everything is on disk."""
        if self._pending is not None:
            self._pending.result()

    def _write(self, step: int, groups: tuple[StateGroup, ...], untrained: tuple[StateGroup, ...]) -> None:
        """The rollout's own file comes last: where it is, the other one is whole."""
        path = dump_path(self._folder, step)
        if untrained:
            rows = [row | {"advantage": 0.0} for group in untrained for row in _rows(step, group, self._advantages)]
            _write_file(candidates_path(path), rows, self._schema)
        else:
            candidates_path(path).unlink(missing_ok=True)
        _write_file(path, [row for group in groups for row in _rows(step, group, self._advantages)], self._schema)


def _write_file(path: Path, rows: list[dict[str, Any]], schema: pa.Schema) -> None:
    with whole(path) as part:
        table = pa.Table.from_pylist(rows, schema=schema)
        pq.write_table(table, part, compression="zstd", write_page_checksum=True)


def dump_path(folder: str | os.PathLike, step: int) -> Path:
    """The file of rollout ``step``, from 1 on."""
    return Path(folder) / f"rollout-{step:08d}.parquet"


def candidates_path(rollout: Path) -> Path:
    """The file of what was sampled for this rollout and is not trained on; there is none without any."""
    return rollout.with_name(rollout.name.replace("rollout-", "candidates-"))


def is_candidates(path: Path) -> bool:
    """Whether a file holds what is not trained on, and no completions of a rollout."""
    return path.name.startswith("candidates-")


def dump_files(folder: str | os.PathLike) -> list[Path]:
    """The files of a dump in order of their rollouts; ValueError when there are none."""
    files = sorted(Path(folder).glob("rollout-*.parquet"))
    if not files:
        raise ValueError(f"{folder} holds no rollout-*.parquet file; give the folder of a run's --marge.dump_dir")
    return files


def _rows(step: int, group: StateGroup, advantages_of: Callable[..., list[float]]) -> Iterator[dict[str, Any]]:
    problem, state, guidance = group.problem, group.state, group.state.guidance
    shared = dict(
        step=step, group_id=group.id, problem_id=problem.id, prompt=problem.prompt, label=problem.label,
        prompt_ids=problem.prompt_ids, max_response_tokens=problem.max_response_tokens, state_index=state.index,
        n_states=group.n_states, group_size=len(group.completions), position=state.position,
        prefix_length=len(state.prefix_ids), prefix_ids=state.prefix_ids, segment=state.segment,
        value_gain=group.value_gain, chose_guidance=group.chose_guidance,
    )  # fmt: skip
    if guidance is not None:
        shared |= dict(
            guidance_id=guidance.id, guidance_ids=guidance.token_ids, guidance_is_correct=guidance.is_correct,
            guidance_pass_rate=guidance.pass_rate, guidance_visit=guidance.visit,
        )  # fmt: skip
    for c, a in zip(group.completions, advantages_of(group.completions), strict=True):
        yield shared | dict(
            token_ids=c.token_ids, reward=c.reward, is_correct=c.is_correct, truncated=c.truncated,
            advantage=a, advantages=c.advantages,
            log_probs=c.log_probs, extra_logs=_extra_logs(c),
            first_weight_version=c.weight_versions[0], last_weight_version=c.weight_versions[1],
        )  # fmt: skip


def _advantages(completions: Sequence[Completion], kind: str, negative_weight: float) -> list[float]:
    """As they are trained; of completions that bring their own, per token, the mean."""
    of_group = group_advantages([c.reward for c in completions], [0] * len(completions), kind, negative_weight)
    return [
        a if c.advantages is None else _mean([weigh(own, negative_weight) for own in c.own_advantages])
        for c, a in zip(completions, of_group, strict=True)
    ]


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values) if values else 0.0


def _extra_logs(completion: Completion) -> list[dict[str, Any]]:
    """Without what a clock gave: it says nothing of the completion, and a run that is repeated has the same files."""
    return [dict(name=name, value=v) for name, v in completion.extra_logs if not name.endswith("_seconds")]
