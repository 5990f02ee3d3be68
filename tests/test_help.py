"""What the commands say of themselves: ``--help`` byte for byte, so that moving code changes nothing for users."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

HELPS = sorted((Path(__file__).parent / "data" / "help").glob("*.txt"))


@pytest.mark.parametrize("expected", HELPS, ids=lambda path: path.stem)
def test_help(expected):
    command = [sys.executable, "-m", f"openrlhf_marge.cli.{expected.stem}", "--help"]
    done = subprocess.run(command, env=os.environ | {"COLUMNS": "120"}, capture_output=True, text=True, check=True)
    assert done.stdout == expected.read_text()


def test_every_command_has_its_help():
    import openrlhf_marge.cli

    commands = {path.stem for path in Path(openrlhf_marge.cli.__file__).parent.glob("[a-z]*.py")} - {"exits"}
    assert {path.stem for path in HELPS} == commands
