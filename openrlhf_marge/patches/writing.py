"""All-or-nothing writing of a few files: `{path: bytes | None} -> write_all` (None: delete).

New contents and backups are staged beside the files before the first one is replaced, so what can fail for lack of
space or permission fails before anything has changed; a failure later on moves the backups back.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

from .errors import COMMAND, PatchError

Replace = Callable[[Path, Path], None]
LEFTOVER_SUFFIXES = (".marge-new", ".marge-old")
"""Of the staged contents and the backups, which only a killed run leaves behind."""


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """One writer at a time; network file systems that cannot lock a folder go without."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def write_all(contents: Mapping[Path, bytes | None], replace: Replace = os.replace) -> None:
    """Gives all files their new content, or raises and leaves all as they were."""
    with ExitStack() as cleanup, ExitStack() as undo:
        cleanup.callback(sweep, contents)
        for path, content in contents.items():
            _stage(path, content)
        for path, content in contents.items():
            undo.callback(_put_back, path, path.exists())
            if content is None:
                path.unlink()
            else:
                replace(_staged(path), path)
        undo.pop_all()


def sweep(paths: Iterable[Path]) -> None:
    """Removes what a killed run left beside the files, and folders that hold nothing any more."""
    for path in paths:
        for leftover in (_staged(path), _backup(path)):
            if os.path.lexists(leftover):  # a link that leads nowhere would be written through, or be in the way
                leftover.unlink()
        _prune(path.parent)


def check_writable(paths: Iterable[Path]) -> None:
    """Raises the PermissionError now that the writing would raise half way."""
    for path in paths:
        folder = next(parent for parent in path.parents if parent.exists())
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(f"{folder} is not writable")


def _stage(path: Path, content: bytes | None) -> None:
    """Also drops the bytecode, which Python would believe if size and second of the two versions were equal."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists():
        shutil.copy2(path, _backup(path))
    if content is not None:
        with _staged(path).open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if path.exists():
            shutil.copymode(path, _staged(path))
    for bytecode in path.parent.glob(f"__pycache__/{path.stem}.*.pyc"):
        bytecode.unlink()


def _put_back(path: Path, existed: bool) -> None:
    try:
        if existed:
            os.replace(_backup(path), path)
        else:
            path.unlink(missing_ok=True)
    except OSError as error:
        raise PatchError(f"{path} could not be put back ({error}); run {COMMAND} revert") from error


def _prune(folder: Path) -> None:
    """Wheels have no empty folders, so an empty one is ours; rmdir refuses every other."""
    with contextlib.suppress(OSError):
        if [entry.name for entry in folder.iterdir()] == ["__pycache__"]:
            (folder / "__pycache__").rmdir()
        folder.rmdir()
        _prune(folder.parent)


def _staged(path: Path) -> Path:
    return path.with_name(f".{path.name}{LEFTOVER_SUFFIXES[0]}")


def _backup(path: Path) -> Path:
    return path.with_name(f".{path.name}{LEFTOVER_SUFFIXES[1]}")
