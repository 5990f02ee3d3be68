"""What must hold of a run that was killed, resumed and has ended, by its dump, its states and what it trained on."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

from openrlhf_marge import StateGroup
from openrlhf_marge.data.dump import candidates_path, dump_files
from openrlhf_marge.data.dump_reading import read_groups
from openrlhf_marge.host.rollout.records import RolloutRecord
from openrlhf_marge.method.guidance import GuidancePool
from openrlhf_marge.models import load_tokenizer
from openrlhf_marge.runs.checkpoints import CheckpointStore

from stack import TinyTask


def check_run(task: TinyTask, out: Path, episodes: int, per_state: int = 4, per_rollout: int = 8) -> None:
    """AssertionError with what does not hold; the task's grader is that of ``stack.REWARD``."""
    files = dump_files(out / "dump")
    rollouts = [list(read_groups(path)) for path in files]
    groups = [group for rollout in rollouts for group in rollout]
    problems = len((task.folder / "train.jsonl").read_text().splitlines())
    check_visits(rollouts, problems, episodes, per_rollout)
    assert {len(group.completions) for group in groups} == {per_state}, "a group is not whole"
    candidates = [g for path in map(candidates_path, files) if path.is_file() for g in read_groups(path)]
    check_rewards(task, [*groups, *candidates])
    record = last_record(out)
    check_trained(out, groups, record, per_state)
    check_guidance(groups, candidates, record)
    assert set(record.pool.visits.values()) == {episodes} and len(record.pool.visits) == problems


def last_record(out: Path) -> RolloutRecord:
    store = CheckpointStore(out / "checkpoints" / "_marge")
    return store.read_state(max(store.complete().values()), RolloutRecord)


def check_visits(rollouts: list[list[StateGroup]], problems: int, episodes: int, per_rollout: int) -> None:
    """Every problem once an episode, with all of its states, as ``read_groups`` has counted."""
    per_episode = problems // per_rollout
    assert len(rollouts) == per_episode * episodes, f"{len(rollouts)} rollouts of {episodes} episodes"
    for start in range(0, len(rollouts), per_episode):
        visited = Counter(g.problem.id for r in rollouts[start : start + per_episode] for g in r if g.state.index == 0)
        assert len(visited) == problems and set(visited.values()) == {1}, (start, visited)


def check_rewards(task: TinyTask, groups: list[StateGroup]) -> None:
    tokenizer = load_tokenizer(str(task.folder / "model"))
    for group in groups:
        for completion in group.completions:
            ids = [*group.state.prefix_ids, *completion.token_ids]
            query = group.problem.prompt + tokenizer.decode(ids, skip_special_tokens=False)
            assert completion.reward == float(sum(map(ord, query)) % 2), (group.id, completion)


def check_trained(out: Path, groups: list[StateGroup], record: RolloutRecord, per_state: int) -> None:
    """Of the steps that the last weights have behind them: a step that was done again replaces what came after it."""
    steps: dict[int, dict[int, int]] = {}
    for line in map(json.loads, (out / "trained.jsonl").read_text().splitlines()):
        steps = {step: found for step, found in steps.items() if step < line["step"]}
        steps[line["step"]] = dict(line["groups"])
    assert sorted(steps) == list(range(1, len(steps) + 1))
    trained: Counter[int] = Counter()
    for found in steps.values():
        trained.update(found)
    waiting = Counter({group.id: len(group.completions) for group in record.waiting})
    assert not trained.keys() & waiting.keys(), "a group waits that was trained on"
    assert trained + waiting == Counter({group.id: per_state for group in groups}), "not each group once"


def check_guidance(groups: list[StateGroup], candidates: list[StateGroup], record: RolloutRecord) -> None:
    """What guided a visit was sampled from s_0 in the visit that it says, and what is known now in the last one."""
    visits: Counter[str] = Counter()
    sampled: dict[tuple[str, int], set] = {}
    for group in candidates:
        sampled.setdefault((group.problem.id, 0), set()).update(responses(group))
    for group in (g for g in groups if g.state.index == 0):
        sampled.setdefault((group.problem.id, visits[group.problem.id]), set()).update(responses(group))
        visits[group.problem.id] += 1
    known = GuidancePool()
    known.update(record.pool)
    used = [(g.problem.id, g.state.guidance) for g in groups if g.state.guidance is not None]
    for problem_id, guidance in [*used, *((i, g) for i in visits for g in known.get(i))]:
        assert guidance.token_ids in sampled[problem_id, guidance.visit], (problem_id, guidance.visit)


def responses(group: StateGroup) -> list[tuple[int, ...]]:
    """The completions of s_0 as guidance has them, without EOS."""
    eos = {c.token_ids[-1] for c in group.completions if not c.truncated}
    return [tuple(i for i in c.token_ids if i not in eos) for c in group.completions] + [
        c.token_ids for c in group.completions
    ]


def check_same(one: Path, other: Path) -> None:
    """Guidance, states, completions and their order, and what waits."""
    files, others = dump_files(one / "dump"), dump_files(other / "dump")
    assert [f.name for f in files] == [f.name for f in others]
    for a, b in zip(files, others, strict=True):
        assert list(read_groups(a)) == list(read_groups(b)), a.name
    assert last_record(one) == last_record(other)
