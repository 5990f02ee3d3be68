"""Commands as forks of a process that has loaded what they load: as they would have been without."""

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest

from openrlhf_marge.host.standalone import warm_start
from openrlhf_marge.runs.warm_client import SOCKET, warmed

SHOW = """
import atexit, os, sys
atexit.register(print, "ended")
print(sys.argv[1:], __name__, os.environ.get("MARK"), os.getcwd(), "wave" in sys.modules, sys.stdin.read(), flush=True)
if sys.argv[1] == "raise":
    raise ValueError("of the command")
sys.exit(int(sys.argv[1]))
"""
SPAWN = """
import multiprocessing, sys

def square(n):
    return n * n, "wave" in sys.modules

if __name__ == "__main__":
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        print(pool.map(square, [1, 2, 3]))
"""
WAIT = "import os, time; print(os.getpid(), flush=True); time.sleep(60)"


@contextmanager
def started(folder):
    """The environment of a server that has loaded a module which nothing else loads."""
    path = str(folder / "socket")
    command = [sys.executable, "-m", "openrlhf_marge.runs.warm_server", path, "wave"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE)
    while not os.path.exists(path):
        assert process.poll() is None
        time.sleep(0.01)
    yield os.environ | {SOCKET: path}
    process.stdin.close()
    assert process.wait(timeout=60) == 0


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with started(tmp_path_factory.mktemp("warm")) as environment:
        yield environment


@pytest.fixture
def script(tmp_path):
    def write(text: str) -> list[str]:
        path = tmp_path / "script.py"
        path.write_text(text)
        return [sys.executable, str(path)]

    return write


def run(command, environment, **options) -> subprocess.CompletedProcess:
    return subprocess.run(
        warmed(command, environment), env=environment, capture_output=True, text=True, timeout=60, **options
    )


@pytest.mark.parametrize("is_warm", [True, False])
def test_arguments_environment_folder_streams_and_status_are_the_commands_own(server, script, tmp_path, is_warm):
    environment = server | {"MARK": "m"} | ({} if is_warm else {"OMP_NUM_THREADS": "77"})
    done = run([*script(SHOW), "3", "x y"], environment, input="in", cwd=tmp_path)
    shown = f"['3', 'x y'] __main__ m {tmp_path} {is_warm} in\nended\n"
    reason = "warm_client: OMP_NUM_THREADS is not as when the server loaded"
    assert (done.returncode, done.stdout) == (3, shown) and done.stderr.startswith("" if is_warm else reason)


def test_an_error_is_told_as_ever(server, script):
    done = run([*script(SHOW), "raise"], server, input="")
    assert done.returncode == 1 and done.stderr.splitlines()[-1] == "ValueError: of the command"
    assert done.stdout.endswith("ended\n")


def test_a_command_may_give_itself_a_title(server, script):
    pytest.importorskip("setproctitle")
    code = "import setproctitle; setproctitle.setproctitle('ray::Worker'); print(open('/proc/self/cmdline').read())"
    assert run(script(code), server | {"MARK": "m"}).stdout.startswith("ray::Worker")


def test_a_module_runs_as_with_m(server):
    done = run([sys.executable, "-m", "json.tool"], server, input='{"a":1}')
    assert (done.returncode, done.stdout) == (0, '{\n    "a": 1\n}\n')


def test_what_multiprocessing_spawns_begins_loaded_too(server, script):
    done = run(script(SPAWN), server)
    assert (done.returncode, done.stdout) == (0, "[(1, True), (4, True), (9, True)]\n"), done.stderr


def test_open_files_keep_their_numbers(server, script, tmp_path):
    (tmp_path / "read").write_text("of the file")
    with open(tmp_path / "read") as file:
        done = run([*script("import os, sys; print(os.read(int(sys.argv[1]), 99))"), str(file.fileno())], server,
                   pass_fds=[file.fileno()])  # fmt: skip
    assert done.stdout == "b'of the file'\n", done.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_signal_to_the_command_ends_the_fork(server, script, number):
    process = subprocess.Popen(warmed([*script(WAIT)], server), env=server, stdout=subprocess.PIPE, text=True)
    pid = int(process.stdout.readline())
    assert pid != process.pid
    process.send_signal(number)
    assert process.wait(timeout=60) == -number
    assert process.stdout.read() == ""  # at its end the fork is gone
    process.stdout.close()


def test_a_fork_that_is_killed_ends_the_command_in_the_same_way(server, script):
    process = subprocess.Popen(warmed([*script(WAIT)], server), env=server, stdout=subprocess.PIPE, text=True)
    os.kill(int(process.stdout.readline()), signal.SIGKILL)
    assert process.wait(timeout=60) == -signal.SIGKILL
    process.stdout.close()


def test_a_command_and_its_fork_that_end_together_leave_the_server_in_order(server, script):
    for _ in range(20):
        process = subprocess.Popen(warmed([*script(WAIT)], server), env=server, stdout=subprocess.PIPE, text=True)
        for pid in (int(process.stdout.readline()), process.pid):
            os.kill(pid, signal.SIGKILL)
        process.wait(timeout=60)
        process.stdout.close()
    done = run([*script("print(1)")], server)
    assert (done.stdout, done.stderr) == ("1\n", "")


def test_without_a_server_a_command_is_left_as_it_is_or_starts_cold_with_a_sentence(tmp_path, script):
    command = [*script("print(1)")]
    assert warmed(command, {}) == command
    assert warmed(["bash", "x"], {SOCKET: "x"}) == ["bash", "x"]
    done = run(command, os.environ | {SOCKET: str(tmp_path / "none")})
    assert (done.returncode, done.stdout) == (0, "1\n") and "starts cold" in done.stderr


def test_the_forks_end_with_the_server(tmp_path, script):
    with started(tmp_path) as environment:
        process = subprocess.Popen(warmed([*script(WAIT)], environment), env=environment, stdout=subprocess.PIPE)
        assert process.stdout.readline()
    assert process.wait(timeout=60) == -signal.SIGKILL
    process.stdout.close()


@pytest.mark.parametrize("fails", [False, True])
def test_what_libraries_say_while_they_are_loaded_is_shown_only_when_loading_fails(
    tmp_path, monkeypatch, capfd, script, fails
):
    (tmp_path / "noisy.py").write_text("import sys; print('noise'); print('warning', file=sys.stderr)")
    (tmp_path / "after.py").write_text("raise ImportError('no GPU')" if fails else "")
    monkeypatch.setattr(warm_start, "MODULES", ("noisy", "after"))
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)  # else nothing is left for a fork to print
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), *filter(None, sys.path)])}
    with warm_start.warm_start(environment) as variables:
        done = run(script("import sys; print('noisy' in sys.modules)"), environment | variables)
    assert (done.returncode, done.stdout) == (0, f"{not fails}\n") and ("starts cold" in done.stderr) == fails
    shown = capfd.readouterr()
    assert shown.out == "" and bool(shown.err) == fails
    if fails:
        first, *said = shown.err.splitlines()
        assert first == "warm start: the server ended with exit code 1, and commands after that started cold; it said:"
        assert {"noise", "warning", "ImportError: no GPU"} <= set(said)
