"""Protects a run folder: refuses settings that differ from those it was started with, and a second process."""

from __future__ import annotations

import errno
import fcntl
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from openrlhf_marge.data.files import read_object, write_json
from openrlhf_marge.data.redaction import redacted


def write_settings(path: Path, settings: Mapping[str, Any]) -> None:
    """Write the flags and their values without secrets, in place of those there."""
    write_json(path, _shown(settings))


def check_settings(path: Path, settings: Mapping[str, Any]) -> None:
    """Compare the flags and their values with those there, if any; ValueError naming a flag that differs."""
    if not path.is_file():
        return
    wanted, there = (_shown(s) for s in (json.loads(json.dumps(settings)), read_object(path)))
    for flag in {**there, **wanted}:
        if there.get(flag) != wanted.get(flag):
            raise ValueError(
                f"--out {path.parent} was begun with {flag} {there.get(flag)}, not {wanted.get(flag)}; give the same "
                "flags to go on, or another --out"
            )


def _shown(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {flag: redacted(value) if isinstance(value, str) else value for flag, value in settings.items()}


@contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """ValueError when another process is in this context with the same folder; its death in any way ends that."""
    # Not filelock's lock: where a file system has none, that is a file which outlives its process, or an OSError.
    with (folder / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as e:
            if e.errno in (errno.EAGAIN, errno.EACCES):
                raise ValueError(f"--out {folder} is written to by another process; wait for it or end it") from e
            if e.errno not in (errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK):  # file systems without locks
                raise
        yield
