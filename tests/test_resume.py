"""A run killed with SIGKILL at seeded moments goes on as if nothing had happened.

A chain is one run of two iterations that is killed up to four times and then ends; six of them are 24 moments. That
takes a quarter of an hour, so ``MARGE_KILLS`` says how many are tried: by default the first 8, in every phase.
"""

import os
import random

import pytest

pytest.importorskip("openrlhf", reason="the host is not installed")

import torch

from openrlhf_marge.data.dump import dump_files
from openrlhf_marge.data.dump_reading import read_groups
from openrlhf_marge.host.rollout.records import RolloutRecord
from openrlhf_marge.runs.checkpoints import CheckpointStore

from stack import KILL_WORKERS, REWARD, launch, make_task, train

N_KILLS = int(os.environ.get("MARGE_KILLS", "8"))
PER_CHAIN = 4
METHODS = (
    "",
    # Every problem twice, so that what the first visit saw decides in the second.
    "--marge.preset frontier --marge.frontier_hard 0.8 --train.num_episodes 2 --rollout.batch_size 16",
    "--marge.guidance_source fresh --marge.state_budget adaptive",
    "--marge.n_guidances 2 --marge.advantage vine --marge.guidance_rule random",
    "--marge.explore vanilla --marge.advantage leave_one_out",
    "--marge.reference episode --train.num_episodes 2 --rollout.batch_size 16",
)
# Runs inside the trainer's process, which loads the grader: at the moment asked for, every worker of the cluster dies.
KILLER = """
import os, pathlib, sys, threading

def arm(phase, iteration, call, seconds, mark, complete):
    from openrlhf.trainer.ray.launcher import RayActorGroup
    from openrlhf_marge.runs.checkpoints import CheckpointStore
    from openrlhf_marge.host.rollout.sampler import EngineSampler
    owner, name, wanted = {
        "generation": (EngineSampler, "_generate", None), "grading": (EngineSampler, "_grade", None),
        "training": (RayActorGroup, "async_run_method", "fit"),
        "weight sync": (RayActorGroup, "async_run_method", "broadcast_to_vllm"),
        "saving state": (CheckpointStore, "write_state", None), "commit": (CheckpointStore, "commit", None),
        "saving weights": (RayActorGroup, "async_run_method", "save_checkpoint"),
    }[phase]
    original, calls = getattr(owner, name), [0]
    def method(*args, **kwargs):
        now = 2 if os.path.exists(complete) else 1
        calls[0] += now >= iteration and wanted in (None, kwargs.get("method_name"))
        if calls[0] == call:
            calls[0] += 1
            open(mark, "w").close()
            threading.Timer(seconds, kill_workers).start() if seconds else kill_workers()
        return original(*args, **kwargs)
    setattr(owner, name, method)

asked_for = pathlib.Path(__file__).with_name("kill_at")
if asked_for.exists() and "openrlhf_marge.host.training.trainer" in sys.modules:
    moment, *paths = asked_for.read_text().split("\\n")
    phase, iteration, call, seconds = moment.split(":")
    arm(phase, int(iteration), int(call), float(seconds), *paths)
"""
PHASES = ("generation", "grading", "training", "weight sync", "saving state", "saving weights", "commit")


def moments(chain: int) -> list[str]:
    """Four moments, two in each iteration: a phase, in one of its calls, at once or a moment into the call."""
    rng = random.Random(chain)
    phases = [PHASES[(chain * PER_CHAIN + i) % len(PHASES)] for i in range(PER_CHAIN)]
    rng.shuffle(phases)
    call = {"generation": 12, "grading": 12}
    found = [(phase, 1 + i // 2, rng.randint(1, call.get(phase, 1)), rng.choice((0, 0.02, 0.1)))
             for i, phase in enumerate(phases)]  # fmt: skip
    # A moment after the last commit the run may have ended. Only the chain's first commit is surely not the last.
    return [f"{p}:{iteration}:{n}:{0 if p == 'commit' and i else s}" for i, (p, iteration, n, s) in enumerate(found)]


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    task = make_task(tmp_path_factory.mktemp("task"))
    (task.folder / "reward.py").write_text(KILL_WORKERS + KILLER + REWARD)
    return task


def flags_of(out, method: str) -> str:
    return f"""--experience_maker marge --marge.n_candidates 8 --marge.split tokens --marge.n_states 3
        --train.full_determinism_enable --ckpt.save_steps 1 --ckpt.load_enable --marge.dump_dir {out}/dump {method}"""


@pytest.mark.timeout(1500)
@pytest.mark.parametrize("chain", range(-(-N_KILLS // PER_CHAIN)))
def test_a_killed_run_ends_as_an_undisturbed_one(task, tmp_path, cluster, chain):
    method = METHODS[chain % len(METHODS)]
    train(task, tmp_path / "undisturbed", flags_of(tmp_path / "undisturbed", method), cluster)
    killed, kill_at = tmp_path / "killed", task.folder / "kill_at"
    complete = killed / "checkpoints" / "_marge" / "complete.json"
    for number, moment in enumerate(moments(chain)[: N_KILLS - chain * PER_CHAIN]):
        mark = tmp_path / f"killed{number}"
        kill_at.write_text(f"{moment}\n{mark}\n{complete}")
        run = launch(task, killed, flags_of(killed, method), cluster)
        kill_at.unlink()
        assert mark.exists() or run.returncode == 0, run.log[-3000:]
        # Of an iteration whose checkpoint was whole when the run was killed some moments come no more, and some so
        # late that the run has ended.
        if run.returncode == 0:
            break
    assert (tmp_path / "killed1").exists(), "the run ended at its second moment already"
    train(task, killed, flags_of(killed, method), cluster)
    assert_same(tmp_path / "undisturbed", killed)


def assert_same(one, other) -> None:
    """Guidance, states, completions and their order; what waits; the trained weights."""
    files, others = dump_files(one / "dump"), dump_files(other / "dump")
    assert [f.name for f in files] == [f.name for f in others]
    for a, b in zip(files, others, strict=True):
        assert list(read_groups(a)) == list(read_groups(b)), a.name
    steps = [CheckpointStore(out / "checkpoints" / "_marge").complete() for out in (one, other)]
    assert steps[0] == steps[1]
    last = max(steps[0].values())
    states = [CheckpointStore(out / "checkpoints" / "_marge").read_state(last, RolloutRecord) for out in (one, other)]
    assert states[0] == states[1]
    for a, b in zip(*(master_weights(out, last) for out in (one, other)), strict=True):
        assert torch.equal(a, b), (a - b).abs().max()


def master_weights(out, step: int) -> list[torch.Tensor]:
    """The optimizer's 32-bit weights in OpenRLHF's checkpoint."""
    path = out / "checkpoints" / "_actor" / f"global_step{step}" / "mp_rank_00_model_states.pt"
    return torch.load(path, weights_only=False, map_location="cpu")["optimizer"]["fp32_groups_flat"]
