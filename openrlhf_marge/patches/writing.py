"""All-or-nothing change of a few files: `FileReport... -> bring_to`.

A file is patched by a rename after its stock text is kept beside it, and reverted by the rename of that text: at every
moment it is whole, and a killed run leaves files that are stock or patched.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from .installed import COMMAND, PatchError
from .states import FileReport, FileState, kept, read


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


def bring_to(state: FileState, files: Sequence[FileReport], root: Path) -> bool:
    """Gives all files the state, or raises and leaves all as they were; False when all have it already."""
    changes = [file for file in files if file.state is not state]
    with contextlib.ExitStack() as cleanup, contextlib.ExitStack() as undo:
        for file in files:
            _sweep(root / file.path, file)
            cleanup.callback(_sweep, root / file.path, file)
        for file in changes:
            _change(root / file.path, file, state)
            undo.callback(_put_back, root / file.path, file)
        undo.pop_all()
    return bool(changes)


def _change(path: Path, file: FileReport, state: FileState) -> None:
    """Also drops the bytecode, which Python would believe if size and second of the two versions were equal."""
    for bytecode in path.parent.glob(f"__pycache__/{path.stem}.*.pyc"):
        bytecode.unlink()
    if state is FileState.PATCHED:
        if file.stock is not None:
            _write(kept(path), file.stock, like=path)
        os.replace(_write(_staged(path), file.patched, like=path), path)
    elif file.stock is None:
        path.unlink()
    else:
        os.replace(kept(path), path)


def _put_back(path: Path, file: FileReport) -> None:
    try:
        _change(path, file, file.state)
    except OSError as error:
        raise PatchError(f"{path} could not be put back ({error}); run {COMMAND} revert") from error


def _write(path: Path, content: bytes, like: Path) -> Path:
    """On the disk before the file is replaced that it is like; with that one's mode, if there is one."""
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    if like.exists():
        shutil.copymode(like, path)
    return path


def _sweep(path: Path, file: FileReport) -> None:
    """Removes what a killed or failed run left beside the file; links, too, which would be in the way."""
    for leftover in (_staged(path), *([kept(path)] if read(path) == file.stock else [])):
        if os.path.lexists(leftover):
            leftover.unlink()


def _staged(path: Path) -> Path:
    return path.with_name(f".{path.name}.marge-new")
