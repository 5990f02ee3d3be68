import json

import pytest

from openrlhf_marge.checkpoints import CheckpointStore, repair


@pytest.fixture
def store(tmp_path):
    return CheckpointStore(tmp_path / "_marge")


def save(store, tmp_path, step, tag=None):
    """As a run does: the state, OpenRLHF's checkpoint, and only then the word that both are there."""
    tag = tag or f"global_step{step}"
    store.write_state(step, {"step": step})
    (tmp_path / "_actor" / tag).mkdir(parents=True, exist_ok=True)
    (tmp_path / "_actor" / "latest").write_text(tag)
    store.commit(tag, step, {p.name for p in (tmp_path / "_actor").iterdir()})


def test_a_state_comes_back(store, tmp_path):
    save(store, tmp_path, 3)
    assert store.read_state(3) == {"step": 3}
    assert store.complete() == {"global_step3": 3}


def test_states_of_rotated_checkpoints_go(store, tmp_path):
    for step in (1, 2):
        save(store, tmp_path, step)
    (tmp_path / "_actor" / "global_step1").rmdir()
    save(store, tmp_path, 3)
    assert store.complete() == {"global_step2": 2, "global_step3": 3}
    assert sorted(p.name for p in (tmp_path / "_marge").glob("state*")) == ["state_2.pkl", "state_3.pkl"]


@pytest.mark.parametrize("keep", [0, 10, -1, -40])
def test_a_torn_state_is_refused_by_name(store, tmp_path, keep):
    save(store, tmp_path, 1)
    path = store.state_file(1)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ValueError, match=r"state_1\.pkl is torn or was changed"):
        store.read_state(1)


def test_a_missing_state_is_named(store):
    with pytest.raises(ValueError, match=r"state_7\.pkl is missing"):
        store.read_state(7)


def test_a_crash_before_the_end_of_saving_leaves_the_last_complete_checkpoint(store, tmp_path):
    save(store, tmp_path, 1)
    store.write_state(2, {"step": 2})
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

    class Unpicklable:
        def __reduce__(self):
            raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        store.write_state(1, Unpicklable())
    assert store.read_state(1) == {"step": 1}


def test_the_index_is_readable_by_people(store, tmp_path):
    save(store, tmp_path, 5, "best_global_step5")
    assert json.loads((tmp_path / "_marge" / "complete.json").read_text()) == {"best_global_step5": 5}
