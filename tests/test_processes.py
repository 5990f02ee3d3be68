"""Commands that run for long: their log, their bars, their failure, their end."""

import os
import sys

import psutil
import pytest

from openrlhf_marge.runs.processes import Bars, run_logged


def run(tmp_path, code, show=lambda line: None):
    run_logged([sys.executable, "-u", "-c", code], tmp_path / "logs" / "x.log", os.environ, show)


def test_every_line_is_in_the_log_and_shown(tmp_path):
    shown = []
    run(tmp_path, "import sys; print('one'); print('50%|#|\\r60%|#|', file=sys.stderr); print('two')", shown.append)
    assert shown == ["one\n", "50%|#|\n", "60%|#|\n", "two\n"]
    assert (tmp_path / "logs" / "x.log").read_text() == "".join(shown)


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("print('x: error: the flag'); print('noise'); raise SystemExit(2)", "exit code 2: x: error: the flag (the"),
        ("raise KeyError('a')", "exit code 1: KeyError: 'a' (the whole log is "),
        ("print('1%|#|'); print('only this'); raise SystemExit(3)", "exit code 3: only this (the whole"),
    ],
)
def test_a_failure_is_told_by_the_line_that_names_it(tmp_path, code, reason):
    with pytest.raises(RuntimeError) as raised:
        run(tmp_path, code)
    assert str(raised.value).startswith(reason)


def test_the_command_ends_with_its_caller(tmp_path):
    def interrupt(line):
        pids.append(int(line))
        raise KeyboardInterrupt

    pids = []
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, "import os, time; print(os.getpid()); time.sleep(600)", interrupt)
    assert not psutil.pid_exists(pids[0])


def test_where_nothing_moves_a_bar_is_a_line_now_and_then(capsys):
    bars = Bars()
    for percent in range(100):
        bars(f"{percent}%|#|\x1b[A\n")
        bars("no bar\n")
    assert capsys.readouterr().out == "   0%|#|\n"
