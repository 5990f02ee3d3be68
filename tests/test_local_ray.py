"""The cluster of a machine without GPUs: only who has its token may join, and run code on it."""

import os
import subprocess
import sys

import pytest

pytest.importorskip("ray", reason="Ray is not installed")

import ray

from openrlhf_marge.host.standalone.local_ray import _start as start_cluster
from openrlhf_marge.host.standalone.local_ray import init_ray, local_ray, needs_local_ray

SECONDS = 200  # a driver takes 10 to join and 25 to give up; the rest is for a loaded machine
DRIVER = """
import os, sys, ray
ray.init(address=sys.argv[1], log_to_driver=False)
print("ran", ray.get(ray.remote(lambda: os.getpid()).remote()))
"""
ENDED = """
import os, signal, sys, time
from openrlhf_marge.host.standalone.local_ray import local_ray
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
try:
    with local_ray(num_gpus=1, num_cpus=1):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(60)
finally:
    time.sleep(4)
    print("ended in good order")
"""
NAMES = ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")


def start(environment, address):
    command = [sys.executable, "-c", DRIVER, address]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.stack
def test_only_drivers_with_the_token_of_the_cluster_join_it(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))  # where a token of the user's own would be
    before = {name: os.environ.get(name) for name in NAMES}
    with local_ray(num_gpus=1, num_cpus=2) as environment:
        other = environment | {"RAY_AUTH_TOKEN": "0" * 64}
        none = {name: value for name, value in environment.items() if name not in NAMES}
        drivers = [start(given, environment["RAY_ADDRESS"]) for given in (environment, other, none)]
        try:
            (said, failed), *refused = [driver.communicate(timeout=SECONDS) for driver in drivers]
        finally:
            for driver in drivers:
                driver.kill()
    assert said.startswith("ran "), failed
    for (out, error), driver in zip(refused, drivers[1:], strict=True):
        assert out == "" and driver.returncode == 1 and "Failed to connect to Ray cluster" in error
    assert {name: os.environ.get(name) for name in NAMES} == before
    with local_ray(num_gpus=1, num_cpus=2) as again:  # a process may open several, one after the other
        assert again["RAY_AUTH_TOKEN"] != environment["RAY_AUTH_TOKEN"] and len(again["RAY_AUTH_TOKEN"]) == 64
        assert start(again, again["RAY_ADDRESS"]).communicate(timeout=SECONDS)[0].startswith("ran ")


@pytest.mark.parametrize(
    ("accelerator", "address", "needs"),
    [("cpu", None, True), ("cpu", "", True), ("cpu", "10.0.0.1:6379", False), ("cuda", None, False)],
)
def test_a_command_needs_a_cluster_where_there_is_no_gpu_and_no_address(monkeypatch, accelerator, address, needs):
    monkeypatch.setenv("DS_ACCELERATOR", accelerator)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    if address is not None:
        monkeypatch.setenv("RAY_ADDRESS", address)
    assert needs_local_ray() is needs


def test_ray_that_does_not_start_is_a_failure_in_one_sentence(monkeypatch):
    def init():
        raise Exception("The current node timed out during startup.")

    monkeypatch.setattr(ray, "init", init)
    with pytest.raises(RuntimeError, match=r"^Ray did not start: The current node timed out during startup\.$"):
        init_ray()


@pytest.mark.stack
def test_a_command_on_the_cluster_that_gets_a_sigterm_takes_the_time_that_it_needs_to_end():
    """Ray's own handler ends it with SIGABRT after 3 seconds."""
    done = subprocess.run([sys.executable, "-c", ENDED], capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode == 143 and done.stdout.endswith("ended in good order\n"), done.stderr[-2000:]


@pytest.mark.parametrize("failures", [0, 2, 3])
def test_a_cluster_whose_processes_do_not_answer_is_started_again(failures, monkeypatch, capsys):
    events = []

    class Node:
        def start(self):
            events.append("start")
            if events.count("start") <= failures:
                raise Exception("timed out during startup.")
            return "context"

        def kill_all_processes(self, check_alive, wait):
            assert wait and not check_alive
            events.append("kill")

    monkeypatch.setattr(ray, "init", lambda: Node().start())
    if failures == 3:
        with pytest.raises(RuntimeError, match=r"^Ray did not start: timed out during startup\.$"):
            start_cluster()
    else:
        assert start_cluster() == "context"
    assert events == ["start", *["kill", "start"] * min(failures, 2)]
    said = [f"Ray did not start: timed out during startup.; start {n} of 3" for n in (2, 3)]
    assert capsys.readouterr().err.splitlines() == said[: min(failures, 2)]
