"""``--marge.explorers`` on a simulated cluster: the same dump as without, and what fails is said as without."""

import gc
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip("openrlhf", reason="the host is not installed")

from ray.exceptions import RayActorError, RayTaskError

from openrlhf_marge import MargeConfig
from openrlhf_marge.data.dump import candidates_path, dump_files
from openrlhf_marge.data.dump_reading import read_groups
from openrlhf_marge.host.rollout import explorers
from openrlhf_marge.host.rollout.explorations import no_garbage_searches
from openrlhf_marge.method.guidance import GuidancePool

sys.path.append(str(Path(__file__).parent / "benchmarks"))

from cluster import simulated
from simulated_cluster import Cluster, Shape

from factories import problem
from virtual_time import virtual_time

SMALL = dict(problems=60, completions=4, batch=64, max_response=64, responses=dict(median=20))
OF_THE_MACHINE = ("_seconds", "cached_prompt_tokens")  # ends of metrics that depend on engine and clock


def test_explorers_find_what_the_driver_finds(tmp_path):
    found = []
    for n in (1, 3):
        folder = tmp_path / str(n)
        config = MargeConfig(split="tokens", n_candidates=4, dump_dir=str(folder))
        taken = simulated(Shape(engines=5, explorers=n, rollouts=2, config=config, **SMALL))
        files = dump_files(str(folder))
        groups = [list(read_groups(path)) for path in [*files, *map(candidates_path, files)]]
        metrics = [
            {name: value for name, value in t.record.metrics.items() if not name.endswith(OF_THE_MACHINE)}
            for t in taken
        ]
        records = [(t.record.pool, t.record.waiting, t.record.rollouts, t.record.skipped) for t in taken]
        found.append((groups, metrics, records))
        assert [len(t.explorers) for t in taken] == [0 if n == 1 else n] * 2
    assert found[0] == found[1] and len(found[0][0]) == 4 and all(found[0][0])


@pytest.mark.parametrize("fault", ["dies", "grader"])
def test_what_fails_in_an_explorer_is_said_as_in_the_driver(tmp_path, fault):
    said = []
    for n in (1, 2):
        with virtual_time() as clock:
            cluster = Cluster(Shape(engines=4, explorers=n, **SMALL), clock, tmp_path)
            generator, kwargs = cluster.generator()
            if fault == "dies":
                cluster.engines[3].faults[0] = "dies"
            else:
                cluster.grader.fails_at = 20
            with pytest.raises(RuntimeError) as error:
                generator.generate_samples(**kwargs)
            said.append(str(error.value))
            assert len(generator.pool) == 0 or n == 1
    expected = "vLLM engine 3 failed while it sampled problem " if fault == "dies" else "--reward.remote_url "
    assert [text[: len(expected)] for text in said] == [expected] * 2


class RemoteError:
    """Stands for Ray where one of two explorers fails: the second, with this error."""

    def __init__(self, error: Exception) -> None:
        self._error, self.killed = error, []
        self.kill = self.killed.append

    def wait(self, refs, num_returns):
        return [refs[-1]], refs[:-1]

    def get(self, ref):
        if ref == "explore 1":
            raise self._error
        return "node" if ref.startswith("node") else None


def method(name: str, number: int) -> SimpleNamespace:
    """Of an actor's handle."""
    streaming = SimpleNamespace(remote=lambda *_: iter([f"{name} {number}"]))
    return SimpleNamespace(remote=lambda *_: f"{name} {number}", options=lambda num_returns: streaming)


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (RayTaskError("explore", "its traceback", RuntimeError("vLLM engine 3 failed")), r"^vLLM engine 3 failed$"),
        (
            RayActorError(error_msg="out of memory"),
            r"^explorer 1 of --marge\.explorers died: (.|\n)*out of memory; resume the run with --ckpt\.load_enable$",
        ),
    ],
)
def test_an_explorer_that_fails_ends_the_others(monkeypatch, error, sentence):
    remote = RemoteError(error)
    monkeypatch.setattr(explorers, "ray", remote)

    actors = [
        SimpleNamespace(**{name: method(name, number) for name in ("node", "start", "explore")}) for number in (0, 1)
    ]
    monkeypatch.setattr(explorers.Explorers, "_made", lambda *_: actors)
    args = SimpleNamespace(marge=MargeConfig(explorers=2))
    problems = [problem("a"), problem("b")]
    with pytest.raises(RuntimeError, match=sentence):
        explorers.Explorers(args, ["engine"] * 2).explore(problems, GuidancePool(), None, {})
    assert remote.killed == actors


def test_garbage_is_searched_for_again_after_unpacking():
    with pytest.raises(KeyError), no_garbage_searches():
        assert not gc.isenabled()
        raise KeyError
    assert gc.isenabled() and gc.get_freeze_count() == 0
