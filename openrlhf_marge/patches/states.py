"""What state each file is in: `Installed, Series -> inspect -> Report`; reads only.

The wheel's checksums tell the stock text, and the series alone the patched one: there is no state file to go stale.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from .errors import COMMAND, PatchError
from .hunks import FileChange, apply_all, unapply_all
from .installed import Installed, checksum
from .series import Series


class FileState(Enum):
    """State of one file that the series changes."""

    STOCK = "stock"
    PATCHED = "patched"
    FOREIGN = "foreign"
    """Neither: changed by hand, or by an older series."""


class PatchState(Enum):
    """State of the package."""

    APPLIED = "applied"
    NOT_APPLIED = "not applied"
    PARTLY_APPLIED = "partly applied"
    """Each file is stock or patched, some of both: apply or revert was killed; either completes it."""
    FOREIGN = "foreign changes"


@dataclass(frozen=True, kw_only=True, slots=True)
class FileReport:
    """One file and its two good contents (None: no such file)."""

    path: str
    state: FileState
    patches: tuple[str, ...]
    """Names of the patches that change it."""
    stock: bytes | None = None
    """Not known when foreign."""
    patched: bytes | None = None
    """Not known when foreign."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """The files that the series changes, in one package."""

    package: Path
    files: tuple[FileReport, ...]
    state: PatchState
    mend: str | None
    """What to do to have all patches applied; None when they are."""


def inspect(installed: Installed, series: Series, root: Path) -> Report:
    """Looks at the package in root: the installed one or a copy of it."""
    looks = (_look(path, _read(root / path), changes, installed) for path, changes in series.items())
    files = tuple(file for file in looks if file.state is FileState.FOREIGN or file.stock != file.patched)
    state = _combine({file.state for file in files})
    package = root / installed.host.name
    mend = None if state is PatchState.APPLIED else _mend(installed, files, package)
    return Report(package=package, files=files, state=state, mend=mend)


def _combine(states: set[FileState]) -> PatchState:
    if FileState.FOREIGN in states:
        return PatchState.FOREIGN
    if len(states) > 1:
        return PatchState.PARTLY_APPLIED
    return PatchState.APPLIED if states == {FileState.PATCHED} else PatchState.NOT_APPLIED


def _read(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None


def _look(path: str, content: bytes | None, changes: tuple[FileChange, ...], installed: Installed) -> FileReport:
    patches = tuple(change.patch for change in changes)
    recorded = installed.checksums.get(path)
    if recorded == _checksum(content):
        patched = apply_all(changes, content)
        if unapply_all(changes, patched) != content:
            raise PatchError(f"{', '.join(patches)} cannot be reverted in {path}; write it again with git diff")
        return FileReport(path=path, state=FileState.STOCK, patches=patches, stock=content, patched=patched)
    try:
        stock = unapply_all(changes, content)
    except PatchError:
        return FileReport(path=path, state=FileState.FOREIGN, patches=patches)
    if recorded != _checksum(stock):
        return FileReport(path=path, state=FileState.FOREIGN, patches=patches)
    return FileReport(path=path, state=FileState.PATCHED, patches=patches, stock=stock, patched=content)


def _checksum(content: bytes | None) -> str | None:
    return None if content is None else checksum(content)


def _mend(installed: Installed, files: tuple[FileReport, ...], package: Path) -> str:
    """A reinstall brings back the wheel's files only, so an unknown file where a patch creates one must go by hand."""
    foreign = [file.path for file in files if file.state is FileState.FOREIGN]
    names = f"{', '.join(foreign)} {'is' if len(foreign) == 1 else 'are'}"
    cause = f"{names} neither as in {installed.host.install} nor as these patches make it; " if foreign else ""
    if package == installed.shadow:
        folder = shlex.quote(str(package.parent))
        return f"{cause}take {folder} off PYTHONPATH, or write it again with: {COMMAND} copy --to {folder}"
    unknown = [path for path in foreign if path not in installed.checksums]
    steps = [f"delete {package.parent / path}" for path in unknown]
    steps += [f"run: {installed.host.reinstall}"] if len(unknown) < len(foreign) else []
    return f"{cause}{', then '.join([*steps, f'run: {COMMAND} apply'])}"
