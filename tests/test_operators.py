"""Locks of killed runs on DeepSpeed's operators."""

import signal
import subprocess
import sys
import sysconfig

import pytest

from openrlhf_marge.runs.cpu import cpu_environment
from openrlhf_marge.runs.cpu_operators import use_operators

USE = "import pathlib, sys, time; from openrlhf_marge.runs.cpu_operators import use_operators; "
USE += "use_operators(pathlib.Path(sys.argv[1])); print('there', flush=True); time.sleep(60)"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "fused_adam").mkdir()
    return tmp_path


def test_a_killed_runs_lock_goes_and_that_of_a_living_one_stays(folder):
    lock = folder / "fused_adam" / "lock"
    lock.touch()
    other = subprocess.Popen([sys.executable, "-c", USE, str(folder)], stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout.readline() == "there\n"
        assert not lock.exists()
        lock.touch()
        use_operators(folder)
        assert lock.exists()  # the other process may be loading the operator
    finally:
        other.send_signal(signal.SIGKILL)
        other.wait()
    done = subprocess.run([sys.executable, "-c", USE.replace("60", "0"), str(folder)], check=True)
    assert done.returncode == 0 and lock.exists()  # this process still uses the folder


def test_a_folder_that_is_not_there_is_left_to_pytorch(tmp_path):
    use_operators(tmp_path / "none")
    assert not list(tmp_path.iterdir())


def test_the_environments_own_ninja_is_found_first_wherever_a_run_starts_from(monkeypatch, tmp_path):
    scripts = sysconfig.get_path("scripts")
    for path in (str(tmp_path), f"{tmp_path}:{scripts}", f"{scripts}:{tmp_path}"):
        monkeypatch.setenv("PATH", path)
        assert cpu_environment()["PATH"] == f"{scripts}:{tmp_path}"
