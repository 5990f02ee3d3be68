"""Reads the series: folder of *.patch files -> `Series`, the changes of each file in the order of the patches.

`unidiff` parses; what it skips in silence (a damaged header, a translated no-newline marker) and what
`hunks` cannot do (renames, binary files, modes) is refused here. Latin-1 maps bytes to text and back unchanged.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

import unidiff.patch as diff
from unidiff.errors import UnidiffParseError

from .errors import PatchError
from .hunks import FileChange, Hunk

Series = Mapping[str, tuple[FileChange, ...]]
PLUGIN_FOLDER = Path(__file__).resolve().parents[1]
PLAIN_MODES = {None, "100644"}


def find_patches() -> Path:
    """The series shipped in the wheel, else that of the checkout this module lies in."""
    shipped = PLUGIN_FOLDER / "_patches"
    return shipped if shipped.is_dir() else PLUGIN_FOLDER.parent / "patches"


def read_series(folder: Path, package: str) -> Series:
    """The changes of each file, in the order of the patches' names."""
    series: dict[str, tuple[FileChange, ...]] = {}
    for patch in sorted(folder.glob("*.patch")):
        for change in _parse(patch, package):
            series[change.path] = (*series.get(change.path, ()), change)
    if not series:
        raise PatchError(f"there is no *.patch file with a change in {folder}; reinstall openrlhf_marge")
    return series


def _parse(patch: Path, package: str) -> Iterator[FileChange]:
    text = patch.read_bytes().decode("latin-1")
    try:
        files = diff.PatchSet.from_string(text)
    except UnidiffParseError as error:
        raise PatchError(f"{patch} is no valid unified diff ({str(error).strip()}); write it again") from error
    parsed = sum((line.line_type == "\\") for file in files for hunk in file for line in hunk) + sum(map(len, files))
    if parsed != len(re.findall(r"^(?:@@|\\)", text, flags=re.MULTILINE)):
        raise PatchError(f"{patch} has a line starting with @@ or \\ outside a hunk; write it again with git diff")
    for file in files:
        yield _change(patch, file, package)


def _change(patch: Path, file: diff.PatchedFile, package: str) -> FileChange:
    creates, deletes = file.source_file == "/dev/null", file.target_file == "/dev/null"
    path = (file.target_file if creates else file.source_file)[2:]
    kept_name = creates or deletes or file.target_file[2:] == path
    modes_plain = file.target_mode in PLAIN_MODES if creates else deletes or file.source_mode == file.target_mode
    if file.is_binary_file or not kept_name or not modes_plain or not (file or creates or deletes):
        raise PatchError(f"{patch} renames {path} or changes its mode or binary content; only text changes are done")
    prefixes = (creates or file.source_file.startswith("a/")) and (deletes or file.target_file.startswith("b/"))
    if not prefixes or not _lies_in(package, path):
        raise PatchError(
            f"{patch} changes {file.target_file!r}; its paths must be a/{package}/... and b/{package}/..."
        )
    hunks = tuple(_hunk(hunk) for hunk in file)
    return FileChange(patch=patch.name, path=path, hunks=hunks, creates=creates, deletes=deletes)


def _lies_in(package: str, path: str) -> bool:
    """Also refuses the carriage return that a patch with converted line endings has in its paths."""
    pure = PurePosixPath(path)
    inside = len(pure.parts) > 1 and pure.parts[0] == package and ".." not in pure.parts
    return inside and str(pure) == path and path.isprintable()


def _hunk(hunk: diff.Hunk) -> Hunk:
    old = tuple(_lines(hunk, " -"))
    new = tuple(_lines(hunk, " +"))
    return Hunk(old_start=hunk.source_start, old=old, new_start=hunk.target_start, new=new)


def _lines(hunk: diff.Hunk, kinds: str) -> Iterator[bytes]:
    """The lines of one side; a marker line takes the line ending from the line before it."""
    for index, line in enumerate(hunk):
        if line.line_type and line.line_type in kinds:
            marked = index + 1 < len(hunk) and hunk[index + 1].line_type == "\\"
            yield (line.value.removesuffix("\n") if marked else line.value).encode("latin-1")
