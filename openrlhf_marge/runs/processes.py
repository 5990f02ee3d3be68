"""Runs long commands: everything that they print goes to a log, their progress bars to the terminal."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from openrlhf_marge.data.redaction import secrets_of, without
from openrlhf_marge.runs.cpu import environment
from openrlhf_marge.runs.warm_client import warmed

BAR = re.compile(r"\d+%\|.*\|")  # a progress bar of tqdm
CURSOR = re.compile(r"\x1b\[\d*[A-Z]")  # what moves the cursor between several bars
ERROR = re.compile(r"(error|Error|Exception): \S")
TERMINAL_SECONDS, FILE_SECONDS = 0.2, 30.0  # between two bars
TAIL_LINES = 15


def run_logged(
    command: Sequence[str], log: Path, environment: Mapping[str, str], show: Callable[[str], object]
) -> None:
    """Run a command with its output in ``log``, without the secrets it was given; ``show`` is told every line.

    RuntimeError with the reason in the log when it fails; the command is ended when the caller is interrupted.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    secrets = secrets_of(command, environment)
    with log.open("w", encoding="utf-8") as sink, subprocess.Popen(
        warmed(command, environment), env=dict(environment), text=True, errors="replace", stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as process:  # fmt: skip
        assert process.stdout is not None, "it is a pipe"
        try:
            for line in process.stdout:
                line = without(line, secrets)
                sink.write(line)
                show(line)
        except BaseException:
            process.terminate()
            raise
    if process.returncode:
        raise RuntimeError(f"exit code {process.returncode}: {_reason(log)} (the whole log is {log})")


def run_captured(command: Sequence[str], text: str | None = None) -> subprocess.CompletedProcess[str]:
    """A short command of the stack that is given ``text``, run to its end; its output and exit status are kept."""
    there = environment()
    return subprocess.run(warmed(command, there), env=there, input=text, capture_output=True, text=True, check=False)


def _reason(log: Path) -> str:
    """The last line that names an error, or the end of the log: what follows the first is often noise."""
    lines = [line for line in log.read_text(errors="replace").splitlines() if not BAR.search(line)]
    named = [line for line in lines if ERROR.search(line)]
    return named[-1].strip() if named else "\n".join(lines[-TAIL_LINES:])


class Bars:
    """Shows the progress bars among a command's lines: one that moves on a terminal, now and then a line elsewhere."""

    def __init__(self) -> None:
        self._moves = sys.stdout.isatty()
        self._next = 0.0

    def __call__(self, line: str) -> None:
        if BAR.search(line) and time.monotonic() >= self._next:
            self._next = time.monotonic() + (TERMINAL_SECONDS if self._moves else FILE_SECONDS)
            bar = CURSOR.sub("", line).strip()
            print(f"\r{bar:.110}\x1b[K" if self._moves else f"   {bar}\n", end="", flush=True)

    def end(self) -> None:
        """Clear the line of the bar."""
        if self._moves:
            print("\r\x1b[K", end="", flush=True)
