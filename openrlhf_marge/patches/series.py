"""The series: folder of *.patch files -> `read_series` -> the changes of each file in the order of the patches.

`unidiff` parses. That the series changes and adds text and nothing else, and that nothing of it is skipped, is held by
tests/test_patch_series.py. Latin-1 maps bytes to text and back unchanged.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import unidiff.patch as diff
from unidiff.errors import UnidiffParseError

from .installed import PatchError


@dataclass(frozen=True, slots=True)
class Change:
    """What one patch, of that name, does to one file."""

    patch: str
    file: diff.PatchedFile

    @property
    def path(self) -> str:
        """Posix path from the folder that holds the package: openrlhf/cli/x.py."""
        return self.file.target_file.removeprefix("b/")

    def apply(self, content: bytes | None) -> bytes:
        """The file after this change (None: no such file); PatchError when it does not fit exactly.

        Stricter than patch(1): every old line must stand at exactly the line its hunk names, line endings included,
        because a hunk that fits a few lines further down is a hunk nobody has read in that place.
        """
        if (self.file.source_file == "/dev/null") != (content is None):
            raise self._misfit("is missing" if content is None else "exists already")
        lines = io.BytesIO(content or b"").readlines()
        result: list[bytes] = []
        position = 0
        for hunk in self.file:
            old = list(_lines(hunk, " -"))
            start = hunk.source_start - bool(old)  # with no old lines, the line after which the new ones go
            if start < position or lines[start : start + len(old)] != old:
                raise self._misfit(f"is not what the hunk says from line {hunk.source_start} on")
            result += [*lines[position:start], *_lines(hunk, " +")]
            position = start + len(old)
        return b"".join(result + lines[position:])

    def _misfit(self, reason: str) -> PatchError:
        return PatchError(f"{self.patch} does not fit: {self.path} {reason}; write that patch again with git diff")


def read_series(folder: Path) -> Mapping[str, list[Change]]:
    """The changes of each file, in the order of the patches' names."""
    series: dict[str, list[Change]] = {}
    for patch in sorted(folder.glob("*.patch")):
        try:
            files = diff.PatchSet.from_string(patch.read_bytes().decode("latin-1"))
        except UnidiffParseError as error:
            raise PatchError(f"{patch} is no valid unified diff ({str(error).strip()}); write it again") from error
        for change in (Change(patch.name, file) for file in files):
            series.setdefault(change.path, []).append(change)
    if not series:
        raise PatchError(f"there is no *.patch file with a change in {folder}; reinstall openrlhf_marge")
    return series


def _lines(hunk: diff.Hunk, kinds: str) -> Iterator[bytes]:
    """The lines of one side with their line endings; a marker line takes that of the line before it."""
    for index, line in enumerate(hunk):
        if line.line_type and line.line_type in kinds:
            marked = index + 1 < len(hunk) and hunk[index + 1].line_type == "\\"
            yield (line.value.removesuffix("\n") if marked else line.value).encode("latin-1")
