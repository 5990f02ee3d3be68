"""What a run with faults left, and what must hold of a run without."""

from __future__ import annotations

import pickle
from collections import Counter
from pathlib import Path
from typing import Any

from openrlhf_marge.data.dump_reading import read_groups
from openrlhf_marge.host.rollout.records import RolloutRecord
from openrlhf_marge.runs.checkpoints import CheckpointStore

from faults import reward_of
from faulty_run import Setting


def outcome(out: Path) -> tuple[Any, ...]:
    """What the last weights were trained on, the last record, and the groups of every file of the dump."""
    store = CheckpointStore(out / "checkpoints" / "_marge")
    tag, step = list(store.complete().items())[-1]
    weights, _ = pickle.loads((out / "checkpoints" / "_actor" / tag / "weights").read_bytes())
    dump = {path.name: list(read_groups(path)) for path in sorted((out / "dump").glob("*.parquet"))}
    return weights, store.read_state(step, RolloutRecord), dump


def check_whole(setting: Setting, out: Path) -> None:
    """What must hold of a run that nothing disturbed; one that equals it has it, too."""
    weights, record, dump = outcome(out)
    n, tokenizer = setting.args.rollout.n_samples_per_prompt, setting.tokenizer
    groups = [group for name, of_file in dump.items() if name.startswith("rollout") for group in of_file]
    assert {len(group.completions) for group in groups} == {n}
    trained = Counter(group_id for step in weights for group_id, _, _ in step)
    waiting = Counter({group.id: n for group in record.waiting})
    assert trained + waiting == Counter({group.id: n for group in groups}) and not trained.keys() & waiting.keys()
    assert set(record.pool.visits.values()) == {setting.episodes} and len(record.pool.visits) == len(setting.rows)
    for group in groups:
        for c in group.completions:
            text = tokenizer.decode([*group.state.prefix_ids, *c.token_ids], skip_special_tokens=False)
            assert c.reward == reward_of(group.problem.prompt + text)
