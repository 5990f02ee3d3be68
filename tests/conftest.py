"""Settings of all tests."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import settings

# Machines are shared: a slow example says nothing about the code. A commit is tried on the same examples each time,
# unless MARGE_RANDOM_EXAMPLES is set: to look for faults is another thing than to tell whether a change made one.
settings.register_profile("shared", deadline=None, derandomize=not os.environ.get("MARGE_RANDOM_EXAMPLES"))
settings.load_profile("shared")


def pytest_collection_modifyitems(items):
    """Whatever uses the cluster or starts commands of the stack is left out of ``tests/run.sh fast``."""
    for item in items:
        if {"cluster", "warm_commands"} & set(item.fixturenames):
            item.add_marker("stack")


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Install a module and its entry points for one test; what was looked up before is forgotten."""
    from openrlhf_marge.entry_points import load_installed

    from factories import distribution

    def install(module: str, body: str, entry_points: str) -> None:
        monkeypatch.delitem(sys.modules, module, raising=False)  # of a test before
        distribution(tmp_path, module, {f"{module}.py": body}, entry_points)
        monkeypatch.syspath_prepend(tmp_path)

    load_installed.cache_clear()
    yield install
    load_installed.cache_clear()


@pytest.fixture
def install_reward(install):
    """Install a module's function ``reward`` under a name."""

    def install_reward(name: str, body: str) -> None:
        install(f"{name}_rewards", body, f"[openrlhf_marge.rewards]\n{name} = {name}_rewards:reward\n")

    return install_reward


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    """A tiny task for runs of the real stack."""
    from stack import make_task

    return make_task(tmp_path_factory.mktemp("task"))


@pytest.fixture(scope="session")
def warm_server():
    """The variables of a server that has the stack loaded, for all commands of this session."""
    from openrlhf_marge.host.standalone.warm_start import warm_start
    from openrlhf_marge.runs.cpu import cpu_environment

    with warm_start(cpu_environment()) as variables:
        yield variables


@pytest.fixture(scope="module")
def warm_commands(warm_server):
    """What this process starts runs on a CPU and begins loaded."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"DS_ACCELERATOR": "cpu", **warm_server}.items():
            patch.setenv(name, value)
        yield


@pytest.fixture(scope="session")
def ray_cluster(tmp_path_factory, warm_server):
    """The environment of a Ray cluster that all runs of a session share; W&B writes to the folder WANDB_DIR only."""
    wandb = {"WANDB_MODE": "offline", "WANDB_DIR": str(tmp_path_factory.mktemp("wandb"))}
    started = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("cluster_process.py"))],
        env={**os.environ, "DS_ACCELERATOR": "cpu", **warm_server, **wandb}, stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    with started:  # which closes its input, and waits for it
        yield json.loads(started.stdout.readline())


@pytest.fixture
def cluster(ray_cluster, warm_commands):
    """The environment of the cluster, for a test whose commands begin loaded."""
    return ray_cluster
