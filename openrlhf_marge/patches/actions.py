"""What a user can ask for: apply, revert, copy_to and report, each of a `Host`."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path

from .installed import COMMAND, OPENRLHF, Host, Installed, PatchError, locate
from .states import FileState, PatchState, Report, inspect
from .writing import bring_to, locked

COPY_MARKER = ".openrlhf-marge-copy"
NOT_COPIED = (".pyc", ".marge-new", ".marge-old")


def report(host: Host = OPENRLHF) -> Report:
    """State of the package that `import` takes, installed or a copy on PYTHONPATH, file by file."""
    installed = locate(host)
    return inspect(installed, installed.imported_root)


def require(user: str, host: Host = OPENRLHF) -> None:
    """ValueError, in which ``user`` is what needs it, unless the package is as the series of this version has it."""
    try:
        mend = report(host).mend
    except PatchError as e:
        raise ValueError(f"{user}: {e}") from e
    if mend:
        raise ValueError(f"{user}: OpenRLHF does not carry this package's patches; {mend}")


def apply(host: Host = OPENRLHF) -> bool:
    """Patches the installed package; False when that is done already."""
    return _bring_to(FileState.PATCHED, locate(host))


def revert(host: Host = OPENRLHF) -> bool:
    """Brings back the installed package's own files; False when that is done already."""
    return _bring_to(FileState.STOCK, locate(host))


def copy_to(folder: Path, host: Host = OPENRLHF) -> Path:
    """Writes a patched copy of the installed package into folder, replacing an earlier copy; returns its folder."""
    installed = locate(host)
    looked = _inspect_installed(installed)
    target = folder.resolve() / host.name
    if target.is_symlink() or (target.exists() and not (target / COPY_MARKER).is_file()):
        raise PatchError(f"{target} exists and is no copy written by this command; name another folder with --to")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder):
            _replace_copy(installed, looked, target)
    except OSError as error:
        raise PatchError(f"cannot write {target} ({error}); name a folder you can write to with --to") from error
    return target


def _bring_to(state: FileState, installed: Installed) -> bool:
    try:
        with locked(installed.package):
            return bring_to(state, _inspect_installed(installed).files, installed.root)
    except OSError as error:
        advice = f"mend that, or write a patched copy elsewhere with: {COMMAND} copy --to DIR"
        raise PatchError(f"cannot change {installed.package}, and left it as it was ({error}); {advice}") from error


def _inspect_installed(installed: Installed) -> Report:
    looked = inspect(installed, installed.root)
    if looked.state is PatchState.FOREIGN:
        raise PatchError(f"nothing is changed: {looked.mend}")
    return looked


def _replace_copy(installed: Installed, looked: Report, target: Path) -> None:
    """Writes the whole copy beside the target, then renames, so that no reader meets half a copy.

    Not copytree: the folders of a read-only site-packages would be read-only in the copy too.
    """
    staging = target.with_name(f".{target.name}.marge-copy")
    shutil.rmtree(staging, ignore_errors=True)
    try:
        for source in installed.package.rglob("*"):
            if source.is_file() and source.suffix not in NOT_COPIED:
                copied = staging / source.relative_to(installed.root)
                copied.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, copied)
        for file in looked.files:
            (staging / file.path).write_bytes(file.patched)
        marker = staging / target.name / COPY_MARKER
        marker.write_text(f"written by: {COMMAND} copy --to {shlex.quote(str(target.parent))}\n")
        if target.exists():
            target.rename(staging / "earlier")
        (staging / target.name).rename(target)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
