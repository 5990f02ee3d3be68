"""Which code made a row."""

from __future__ import annotations

import subprocess
from pathlib import Path

import openrlhf_marge


def commit() -> str:
    """That of this package's checkout, or its version where it is installed from elsewhere."""
    git = ["git", "-C", str(Path(openrlhf_marge.__file__).parent)]
    try:
        subprocess.run([*git, "ls-files", "--error-unmatch", "__init__.py"], capture_output=True, check=True)
        told = subprocess.run([*git, "rev-parse", "--short", "HEAD"], capture_output=True, check=True, text=True)
    except (OSError, subprocess.CalledProcessError):
        return openrlhf_marge.__version__
    return told.stdout.strip()
