"""What state each file is in: `Host -> report -> Report`; reads only.

The wheel's checksums tell the stock text, which stands in its place or is kept beside, and the series makes the
patched one from it: there is no state file to go stale.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from .installed import COMMAND, OPENRLHF, Host, Installed, PatchError, checksum, locate
from .series import Change, read_series


class FileState(Enum):
    """State of one file that the series changes."""

    STOCK = "stock"
    PATCHED = "patched"
    FOREIGN = "foreign"
    """Neither: changed by hand or by an older series, or patched without its stock text being kept."""


class PatchState(Enum):
    """State of the package."""

    APPLIED = "applied"
    NOT_APPLIED = "not applied"
    PARTLY_APPLIED = "partly applied"
    """Each file is stock or patched, some of both: apply or revert was killed; either completes it."""
    FOREIGN = "foreign changes"


@dataclass(frozen=True, slots=True)
class FileReport:
    """One file, the patches that change it, and its two good contents (None: no such file, or not known)."""

    path: str
    patches: tuple[str, ...]
    state: FileState
    stock: bytes | None = None
    patched: bytes | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """The files that the series changes, in the package of a root folder."""

    installed: Installed
    root: Path
    files: tuple[FileReport, ...]

    @property
    def package(self) -> Path:
        return self.root / self.installed.host.name

    @property
    def state(self) -> PatchState:
        states = {file.state for file in self.files}
        if FileState.FOREIGN in states:
            return PatchState.FOREIGN
        if len(states) > 1:
            return PatchState.PARTLY_APPLIED
        return PatchState.APPLIED if FileState.PATCHED in states else PatchState.NOT_APPLIED

    @property
    def mend(self) -> str | None:
        """What to do to have all patches applied; None when they are.

        A reinstall brings back the wheel's files only, so an unknown file where a patch creates one must go by hand.
        """
        if self.state is PatchState.APPLIED:
            return None
        host, foreign = self.installed.host, [file.path for file in self.files if file.state is FileState.FOREIGN]
        names = f"{', '.join(foreign)} {'is' if len(foreign) == 1 else 'are'}"
        cause = f"{names} neither as in {host.requirement} nor as this version applies its patches; " * bool(foreign)
        if self.package == self.installed.shadow:
            folder = shlex.quote(str(self.root))
            return f"{cause}take {folder} off PYTHONPATH, or write it again with: {COMMAND} copy --to {folder}"
        unknown = [path for path in foreign if path not in self.installed.checksums]
        steps = [f"delete {self.root / path}" for path in unknown]
        steps += [f"run: {host.reinstall}"] if len(unknown) < len(foreign) else []
        return f"{cause}{', then '.join([*steps, f'run: {COMMAND} apply'])}"


def report(host: Host = OPENRLHF) -> Report:
    """State of the package that `import` takes, installed or a copy on PYTHONPATH, file by file."""
    installed = locate(host)
    return _inspect(installed, installed.imported_root)


def require(user: str, host: Host = OPENRLHF) -> None:
    """ValueError, in which ``user`` is what needs it, unless the package is as the series of this version has it."""
    try:
        mend = report(host).mend
    except PatchError as e:
        raise ValueError(f"{user}: {e}") from e
    if mend:
        raise ValueError(f"{user}: OpenRLHF does not carry this package's patches; {mend}")


def changeable(installed: Installed) -> Sequence[FileReport]:
    """The files of the installed package; PatchError when one of them is foreign."""
    looked = _inspect(installed, installed.root)
    if looked.state is PatchState.FOREIGN:
        raise PatchError(f"nothing is changed: {looked.mend}")
    return looked.files


def kept(path: Path) -> Path:
    """Where the stock text of a patched file is."""
    return path.with_name(f".{path.name}.marge-old")


def read(path: Path) -> bytes | None:
    """Its content; None when there is no such file."""
    return path.read_bytes() if path.is_file() else None


def _inspect(installed: Installed, root: Path) -> Report:
    series = read_series(installed.host.patches)
    return Report(installed, root, tuple(_look(installed, root, *item) for item in series.items()))


def _look(installed: Installed, root: Path, path: str, changes: Sequence[Change]) -> FileReport:
    patches = tuple(change.patch for change in changes)
    recorded, here = installed.checksums.get(path), installed.root / path
    texts = [text for text in (read(here), read(kept(here))) if checksum(text) == recorded] if recorded else [None]
    if not texts:
        return FileReport(path, patches, FileState.FOREIGN)
    stock = patched = texts[0]
    for change in changes:
        patched = change.apply(patched)
    known = {stock: FileState.STOCK, patched: FileState.PATCHED}
    return FileReport(path, patches, known.get(read(root / path), FileState.FOREIGN), stock, patched)
