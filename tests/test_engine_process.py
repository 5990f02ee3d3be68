"""An engine's process ends with its actor, whatever ends that."""

import signal
import subprocess
import sys
from importlib.metadata import entry_points

import psutil
import pytest

from openrlhf_marge.host.rollout.engine_process import ACTOR, end_with_actor

CHILD = """
import time
from openrlhf_marge.host.rollout.engine_process import end_with_actor
end_with_actor()
print("looks", flush=True)
time.sleep(600)
"""
PARENT = "import subprocess, sys, time; subprocess.Popen(sys.argv[1:]); time.sleep(600)"


@pytest.mark.parametrize(
    ("title", "ends"), [(ACTOR, True), (f"{ACTOR}.generate_responses", True), ("ray::PolicyModelActor", False)]
)
def test_a_child_of_an_actor_ends_when_the_actor_is_killed(title, ends):
    # The first word of a command line is what Ray's workers set their title to.
    command = [title, "-c", PARENT, sys.executable, "-c", CHILD]
    parent, alive = subprocess.Popen(command, executable=sys.executable, stdout=subprocess.PIPE), []
    try:
        assert parent.stdout.readline() == b"looks\n"
        (child,) = psutil.Process(parent.pid).children()
        parent.send_signal(signal.SIGKILL)
        parent.wait()
        gone, alive = psutil.wait_procs([child], timeout=30 if ends else 3)
        assert bool(gone) == ends
    finally:
        parent.kill()
        for process in alive:
            process.kill()


def test_vllm_finds_it():
    (entry,) = [e for e in entry_points(group="vllm.general_plugins") if e.value.startswith("openrlhf_marge")]
    assert entry.load() is end_with_actor
