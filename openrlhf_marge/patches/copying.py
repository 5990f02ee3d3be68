"""A patched copy of the installed package, for PYTHONPATH where the installed one cannot be changed."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path

from .changing import locked
from .installed import COMMAND, OPENRLHF, Host, Installed, PatchError, locate
from .states import FileReport, changeable

MARKER = ".openrlhf-marge-copy"
NOT_COPIED = (".pyc", ".marge-new", ".marge-old")


def copy_to(folder: Path, host: Host = OPENRLHF) -> Path:
    """Writes a patched copy of the installed package into folder, replacing an earlier copy; returns its folder."""
    installed = locate(host)
    files = changeable(installed)
    target = folder.resolve() / host.name
    if target.is_symlink() or (target.exists() and not (target / MARKER).is_file()):
        raise PatchError(f"{target} exists and is no copy written by this command; name another folder with --to")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder):
            _replace(target, installed, files)
    except OSError as error:
        raise PatchError(f"cannot write {target} ({error}); name a folder you can write to with --to") from error
    return target


def _replace(target: Path, installed: Installed, files: Sequence[FileReport]) -> None:
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
        for file in files:
            (staging / file.path).write_bytes(file.patched)
        marker = staging / target.name / MARKER
        marker.write_text(f"written by: {COMMAND} copy --to {shlex.quote(str(target.parent))}\n")
        if target.exists():
            target.rename(staging / "earlier")
        (staging / target.name).rename(target)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
