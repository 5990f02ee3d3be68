import hashlib
import json
import pickle
import re
import shutil
from dataclasses import make_dataclass, replace
from pathlib import Path

import msgspec
import pytest

from openrlhf_marge.exploration.folder import FileRecord
from openrlhf_marge.exploration.totals import Totals
from openrlhf_marge.host.rollout.records import RolloutRecord
from openrlhf_marge.method.groups import StateGroup
from openrlhf_marge.method.guidance import GuidancePool, PoolState
from openrlhf_marge.runs import state_files
from openrlhf_marge.runs.checkpoints import CheckpointStore, repair
from openrlhf_marge.types import Completion, Guidance, Problem, State

DATA = Path(__file__).parent / "data"
GUIDANCE = Guidance(token_ids=(5, 70000, 9), is_correct=True, pass_rate=0.5, visit=2)
OTHER = Guidance(token_ids=(1, 2), is_correct=False, pass_rate=0.25)
GUIDED = StateGroup(
    id=2**64 - 1,
    problem=Problem(
        id="one", prompt="1+1=\u00e9", label="2", prompt_ids=(7, 8), max_response_tokens=20, given_guidance=(3, 4)
    ),
    state=State(index=1, prefix_ids=(5,), position=1 / 3, guidance=GUIDANCE, parent=0, segment=1),
    n_states=2,
    value_gain=0.1,
    completions=(
        Completion(
            token_ids=(70000, 9), reward=0.1, is_correct=False, truncated=True, log_probs=(-0.1, -0.25),
            extra_logs=(("x", 1.5),), weight_versions=(3, 4),
        ),
        Completion(token_ids=(6,), reward=1.0, is_correct=True),
    ),
)  # fmt: skip
PLAIN = StateGroup(
    id=7, problem=Problem(id="two", prompt="p", label="l", prompt_ids=(1,), max_response_tokens=4),
    state=State(index=0, prefix_ids=()), n_states=1,
    completions=(Completion(token_ids=(6,), reward=0.0, is_correct=False),),
)  # fmt: skip


def pool_state() -> PoolState:
    pool = GuidancePool()
    for problem_id in ("one", "one", "two"):
        pool.visit(problem_id)
    pool.set("one", (GUIDANCE, OTHER))
    return pool.state_dict()


RECORD = RolloutRecord(pool=pool_state(), waiting=(GUIDED, PLAIN), rollouts=3, episode=1)


def record(step: int) -> RolloutRecord:
    return replace(RECORD, rollouts=step)


@pytest.fixture
def store(tmp_path):
    return CheckpointStore(tmp_path / "_marge")


def save(store, tmp_path, step, tag=None):
    """As a run does: the state, OpenRLHF's checkpoint, and only then the word that both are there."""
    tag = tag or f"global_step{step}"
    store.write_state(step, record(step))
    (tmp_path / "_actor" / tag).mkdir(parents=True, exist_ok=True)
    (tmp_path / "_actor" / "latest").write_text(tag)
    store.commit(tag, step, {p.name for p in (tmp_path / "_actor").iterdir()})


def test_a_state_comes_back(store, tmp_path):
    save(store, tmp_path, 3)
    assert store.read_state(3, RolloutRecord) == record(3)
    assert store.complete() == {"global_step3": 3}


def test_states_of_rotated_checkpoints_go(store, tmp_path):
    for step in (1, 2):
        save(store, tmp_path, step)
    (tmp_path / "_actor" / "global_step1").rmdir()
    save(store, tmp_path, 3)
    assert store.complete() == {"global_step2": 2, "global_step3": 3}
    assert sorted(p.name for p in (tmp_path / "_marge").glob("state*")) == ["state_2.msgpack", "state_3.msgpack"]


@pytest.mark.parametrize("keep", [0, 10, 23, 31, 60, -1, -40])
def test_a_torn_state_is_refused_by_name(store, tmp_path, keep):
    save(store, tmp_path, 1)
    path = store.state_file(1)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ValueError, match=r"state_1\.msgpack is torn or was changed"):
        store.read_state(1, RolloutRecord)


@pytest.mark.parametrize("place", [0, 25, 35, 100, -50, -1])
def test_a_state_with_another_byte_is_refused_by_name(store, tmp_path, place):
    save(store, tmp_path, 1)
    data = bytearray(store.state_file(1).read_bytes())
    data[place] ^= 1
    store.state_file(1).write_bytes(data)
    with pytest.raises(ValueError, match=r"state_1\.msgpack is torn or was changed"):
        store.read_state(1, RolloutRecord)


def test_a_missing_state_is_named(store):
    with pytest.raises(ValueError, match=r"state_7\.msgpack is missing"):
        store.read_state(7, RolloutRecord)


def test_a_crash_before_the_end_of_saving_leaves_the_last_complete_checkpoint(store, tmp_path):
    save(store, tmp_path, 1)
    store.write_state(2, record(2))
    (tmp_path / "_actor" / "global_step2").mkdir()
    assert repair(tmp_path) == "global_step1"
    for torn in ("", "global_step2"):
        (tmp_path / "_actor" / "latest").write_text(torn)
        assert repair(tmp_path) == "global_step1"
        assert (tmp_path / "_actor" / "latest").read_text() == "global_step1"


def test_a_rotated_latest_is_replaced_by_the_one_before(store, tmp_path):
    save(store, tmp_path, 1)
    save(store, tmp_path, 2)
    (tmp_path / "_actor" / "global_step2").rmdir()
    assert repair(tmp_path) == "global_step1"


def test_a_torn_state_of_the_last_checkpoint_is_named_before_a_run_starts_and_how_to_go_on(store, tmp_path):
    save(store, tmp_path, 1)
    save(store, tmp_path, 2)
    path, last = store.state_file(2), tmp_path / "_actor" / "global_step2"
    path.write_bytes(path.read_bytes()[:-1])
    said = f"--ckpt.load_enable: {path} is torn or was changed; remove {last}, and the run goes on from global_step1"
    with pytest.raises(ValueError, match=re.escape(said)):
        repair(tmp_path)
    path.unlink()
    with pytest.raises(ValueError, match=re.escape(f"{path} is missing; remove {last}, and the run goes on from")):
        repair(tmp_path)
    shutil.rmtree(last)
    assert repair(tmp_path) == "global_step1"
    store.state_file(1).write_bytes(b"")
    with pytest.raises(ValueError, match=f"remove {tmp_path}/_actor/global_step1, and the run goes on from the begin"):
        repair(tmp_path)


def test_nothing_complete_is_said(tmp_path):
    (tmp_path / "_actor").mkdir()
    assert repair(tmp_path) is None


def test_checkpoints_of_another_kind_of_run_are_refused(tmp_path):
    (tmp_path / "_actor").mkdir()
    (tmp_path / "_actor" / "latest").write_text("global_step1")
    with pytest.raises(ValueError, match="was not written with --experience_maker marge"):
        repair(tmp_path)


def test_a_failed_write_leaves_the_old_state(store, tmp_path):
    save(store, tmp_path, 1)

    with pytest.raises(TypeError):
        store.write_state(1, replace(RECORD, waiting=(object(),)))
    assert store.read_state(1, RolloutRecord) == record(1)


def test_the_index_is_readable_by_people(store, tmp_path):
    save(store, tmp_path, 5, "best_global_step5")
    assert json.loads((tmp_path / "_marge" / "complete.json").read_text()) == {"best_global_step5": 5}


def test_a_large_pool_comes_back_from_its_parts(store, monkeypatch):
    monkeypatch.setattr(state_files, "FRAME_PROBLEMS", 3)
    pool = GuidancePool()
    for i in range(10):
        pool.visit(str(i))
        pool.set(str(i), (replace(GUIDANCE, visit=i),))
    state = replace(pool.state_dict(), pass_rates={str(i): i / 8 for i in range(5)})
    store.write_state(1, replace(RECORD, pool=state))
    read = store.read_state(1, RolloutRecord)
    assert read == replace(RECORD, pool=state)
    again = GuidancePool()
    again.update(read.pool)
    assert again.get("9") == (replace(GUIDANCE, visit=9),)


def test_a_state_of_before_a_field_was_added_is_read_with_its_default(store):
    store.write_state(1, RECORD)
    more = make_dataclass("More", [("pool", PoolState), ("rollouts", int), ("new", int, 5)], frozen=True)
    assert store.read_state(1, more) == more(pool=RECORD.pool, rollouts=3, new=5)


def test_a_state_of_another_kind_is_refused(store):
    store.write_state(1, FileRecord(pool=pool_state(), totals=Totals()))
    with pytest.raises(ValueError, match=r"state_1\.msgpack is torn or was changed"):
        store.read_state(1, RolloutRecord)


def test_a_reward_out_of_range_in_a_state_is_refused(store):
    store.write_state(1, RECORD)
    path = store.state_file(1)
    data = path.read_bytes()[:-32].replace(msgspec.msgpack.encode(0.1), msgspec.msgpack.encode(7.5))
    path.write_bytes(data + hashlib.blake2b(data, digest_size=32).digest())
    with pytest.raises(ValueError, match=r"state_1\.msgpack is torn or was changed"):
        store.read_state(1, RolloutRecord)


def pickled(folder: Path, step: int, content: bytes) -> Path:
    """A state as earlier versions wrote it: a pickle and its digest."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"state_{step}.pkl"
    path.write_bytes(content + hashlib.blake2b(content, digest_size=32).digest())
    return path


def test_states_of_earlier_versions_are_read_and_go_with_their_checkpoints(store, tmp_path):
    """The files in tests/data were written by version 0.1."""
    (tmp_path / "_marge").mkdir()
    for number, name in enumerate(("rollout_record", "file_record"), start=1):
        shutil.copy(DATA / f"{name}.pkl", tmp_path / "_marge" / f"state_{number}.pkl")
    old = replace(RECORD, waiting=(replace(GUIDED, id=2**62 + 1), PLAIN))
    assert store.read_state(1, RolloutRecord) == old
    assert store.read_state(2, FileRecord) == FileRecord(
        pool=pool_state(), totals=Totals(problems=2, pass_rates=0.75, candidate_tokens=12)
    )
    assert store.steps() == [1, 2]
    save(store, tmp_path, 3)
    assert sorted(p.name for p in (tmp_path / "_marge").glob("state*")) == ["state_3.msgpack"]


class Attack:
    """A pickle of it writes a file when it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return exec, (f"open({str(self.path)!r}, 'w').close()",)


@pytest.mark.parametrize(
    "hidden", [lambda attack: attack, lambda attack: {"pool": attack}, lambda attack: [PLAIN.problem, attack]]
)
def test_a_hostile_pickle_runs_nothing_and_is_refused_with_a_sentence(store, tmp_path, hidden):
    path = pickled(tmp_path / "_marge", 1, pickle.dumps(hidden(Attack(tmp_path / "hit")), protocol=5))
    with pytest.raises(ValueError) as error:
        store.read_state(1, RolloutRecord)
    assert str(error.value) == (
        f"{path} is no state of a run: UnpicklingError: it names builtins.exec; nothing of it was run; resume from "
        "another checkpoint"
    )
    assert not (tmp_path / "hit").exists()


@pytest.mark.parametrize(
    "content",
    [
        b"copenrlhf_marge.guidance\nPoolState\n}(N(dtb.",  # state and slots for the class itself
        b"copenrlhf_marge.guidance\nPoolState\nN}\x8c\x06updateK\x01s\x86b.",  # PoolState.update = 1
        b"copenrlhf_marge.types\nProblem\n)R.",
        b"copenrlhf_marge.types\nProblem\n)\x81](K\x01K\x02eb.",  # too few values
        b"copenrlhf_marge.guidance\nPoolState.__init__\n.",
        b"cbuiltins\ngetattr\n.",
        b"N.",
        b"",
    ],
)
def test_pickles_that_try_what_is_allowed_in_other_ways_are_refused(store, tmp_path, content):
    pickled(tmp_path / "_marge", 1, content)
    before = dict(vars(PoolState))
    with pytest.raises(ValueError, match=r"state_1\.pkl is no state of a run: .*; nothing of it was run; resume from"):
        store.read_state(1, RolloutRecord)
    assert dict(vars(PoolState)) == before


def test_a_torn_state_of_an_earlier_version_is_refused_by_name(store, tmp_path):
    path = pickled(tmp_path / "_marge", 1, pickle.dumps(1))
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"state_1\.pkl is torn or was changed"):
        store.read_state(1, RolloutRecord)
