"""Apply and revert: an all-or-nothing change of a few files of the installed package.

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

from .installed import COMMAND, OPENRLHF, Host, PatchError, locate
from .states import FileReport, FileState, changeable, kept, read


def apply(host: Host = OPENRLHF) -> bool:
    """Patches the installed package; False when that is done already."""
    return _bring_to(FileState.PATCHED, host)


def revert(host: Host = OPENRLHF) -> bool:
    """Brings back the installed package's own files; False when that is done already."""
    return _bring_to(FileState.STOCK, host)


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


def _bring_to(state: FileState, host: Host) -> bool:
    installed = locate(host)
    try:
        with locked(installed.package):
            return _change_all(state, changeable(installed), installed.root)
    except OSError as error:
        advice = f"mend that, or write a patched copy elsewhere with: {COMMAND} copy --to DIR"
        raise PatchError(f"cannot change {installed.package}, and left it as it was ({error}); {advice}") from error


def _change_all(state: FileState, files: Sequence[FileReport], root: Path) -> bool:
    """Gives all files the state, or raises and leaves all as they were; False when all have it already."""
    changes = [file for file in files if file.state is not state]
    with contextlib.ExitStack() as cleanup, contextlib.ExitStack() as undo:
        for file in files:
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
    path.unlink(missing_ok=True)  # what a killed run left; a link is not written through
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    if like.exists():
        shutil.copymode(like, path)
    return path


def _sweep(path: Path, file: FileReport) -> None:
    """Removes what a killed or failed run left beside the file."""
    for leftover in (_staged(path), *([kept(path)] if read(path) == file.stock else [])):
        leftover.unlink(missing_ok=True)


def _staged(path: Path) -> Path:
    return path.with_name(f".{path.name}.marge-new")
