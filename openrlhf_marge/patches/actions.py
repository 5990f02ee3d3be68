"""What a user can ask for: apply, revert, copy_to and report, each from `Host` and the folder of the series."""

from __future__ import annotations

import os
import shlex
import shutil
from pathlib import Path

from .errors import COMMAND, PatchError
from .installed import OPENRLHF, Host, Installed, locate
from .series import find_patches, read_series
from .states import FileState, PatchState, Report, inspect
from .writing import LEFTOVER_SUFFIXES, Replace, check_writable, locked, sweep, write_all

COPY_MARKER = ".openrlhf-marge-copy"


def report(host: Host = OPENRLHF, patches: Path | None = None) -> Report:
    """State of the package that `import` takes, installed or a copy on PYTHONPATH, file by file."""
    installed = locate(host)
    return inspect(installed, read_series(patches or find_patches(), host.name), installed.imported_root)


def status(host: Host = OPENRLHF, patches: Path | None = None) -> PatchState:
    """State of the package that `import` takes; reads some files, imports and writes nothing."""
    return report(host, patches).state


def apply(host: Host = OPENRLHF, patches: Path | None = None, replace: Replace = os.replace) -> bool:
    """Patches the installed package; False when that is done already."""
    return _bring_to(FileState.PATCHED, locate(host), patches, replace)


def revert(host: Host = OPENRLHF, patches: Path | None = None, replace: Replace = os.replace) -> bool:
    """Brings back the installed package's own files; False when that is done already."""
    return _bring_to(FileState.STOCK, locate(host), patches, replace)


def copy_to(folder: Path, host: Host = OPENRLHF, patches: Path | None = None) -> Path:
    """Writes a patched copy of the installed package into folder, replacing an earlier copy; returns its folder."""
    installed = locate(host)
    contents = _contents(FileState.PATCHED, _inspect_installed(installed, patches))
    target = folder.resolve() / host.name
    if target.is_symlink() or (target.exists() and not (target / COPY_MARKER).is_file()):
        raise PatchError(f"{target} exists and is no copy written by this command; name another folder with --to")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder):
            _replace_copy(installed, contents, target)
    except OSError as error:
        raise PatchError(f"cannot write {target} ({error}); name a folder you can write to with --to") from error
    return target


def _bring_to(state: FileState, installed: Installed, patches: Path | None, replace: Replace) -> bool:
    try:
        with locked(installed.package):
            looked = _inspect_installed(installed, patches)
            sweep(installed.root / file.path for file in looked.files)
            wanted = _contents(state, looked)
            changes = {installed.root / file.path: wanted[file.path] for file in looked.files if file.state != state}
            check_writable(changes)
            write_all(changes, replace)
    except OSError as error:
        advice = f"mend that, or write a patched copy elsewhere with: {COMMAND} copy --to DIR"
        raise PatchError(f"cannot change {installed.package}, and left it as it was ({error}); {advice}") from error
    return bool(changes)


def _inspect_installed(installed: Installed, patches: Path | None) -> Report:
    looked = inspect(installed, read_series(patches or find_patches(), installed.host.name), installed.root)
    if looked.state is PatchState.FOREIGN:
        raise PatchError(f"nothing is changed: {looked.mend}")
    return looked


def _contents(state: FileState, looked: Report) -> dict[str, bytes | None]:
    return {file.path: file.patched if state is FileState.PATCHED else file.stock for file in looked.files}


def _replace_copy(installed: Installed, contents: dict[str, bytes | None], target: Path) -> None:
    """Writes the whole copy beside the target, then renames, so that no reader meets half a copy."""
    staging = target.with_name(f".{target.name}.marge-copy")
    fresh, earlier = staging / target.name, staging / "earlier"
    shutil.rmtree(staging, ignore_errors=True)
    try:
        _write_copy(installed, contents, staging)
        (fresh / COPY_MARKER).write_text(f"written by: {COMMAND} copy --to {shlex.quote(str(target.parent))}\n")
        if target.exists():
            target.rename(earlier)
        fresh.rename(target)
    finally:
        if earlier.exists() and not target.exists():
            earlier.rename(target)
        shutil.rmtree(staging, ignore_errors=True)


def _write_copy(installed: Installed, contents: dict[str, bytes | None], root: Path) -> None:
    """Not copytree: the folders of a read-only site-packages would be read-only in the copy too."""
    for source in installed.package.rglob("*"):
        path = source.relative_to(installed.root).as_posix()
        if source.is_file() and path not in contents and source.suffix not in (".pyc", *LEFTOVER_SUFFIXES):
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, root / path)
    for path, content in contents.items():
        if content is not None:
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_bytes(content)
