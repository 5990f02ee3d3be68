"""Pure application of one file's hunks: `bytes | None -> FileChange.apply -> bytes | None` (None: no such file).

Strict where `patch(1)` is lenient: every old line must stand at exactly the line its hunk names, line endings
included, because a hunk that fits a few lines further down is a hunk nobody has read in that place.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, replace

from .errors import PatchError


@dataclass(frozen=True, kw_only=True, slots=True)
class Hunk:
    """One @@ block; lines keep their line endings, and the last may have none."""

    old_start: int
    """1-based first line replaced; with no old lines, the line after which the new ones go."""
    old: tuple[bytes, ...]
    """Context and removed lines."""
    new_start: int
    """As old_start, in the patched file."""
    new: tuple[bytes, ...]
    """Context and added lines."""

    def reversed(self) -> Hunk:
        """The hunk that undoes this one."""
        return Hunk(old_start=self.new_start, old=self.new, new_start=self.old_start, new=self.old)


@dataclass(frozen=True, kw_only=True, slots=True)
class FileChange:
    """What one patch does to one file."""

    patch: str
    """Name of the patch file, for messages."""
    path: str
    """Posix path from the folder that holds the package: openrlhf/cli/x.py."""
    hunks: tuple[Hunk, ...]
    creates: bool = False
    """The file must not exist before."""
    deletes: bool = False
    """The file does not exist after."""

    def reversed(self) -> FileChange:
        """The change that undoes this one."""
        hunks = tuple(hunk.reversed() for hunk in self.hunks)
        return replace(self, hunks=hunks, creates=self.deletes, deletes=self.creates)

    def apply(self, content: bytes | None) -> bytes | None:
        """The file after this change; PatchError when it does not fit exactly."""
        if self.creates != (content is None):
            raise self._misfit("is missing" if content is None else "exists already")
        result = self._apply_hunks(io.BytesIO(content or b"").readlines())
        if not self.deletes:
            return result
        if result:
            raise self._misfit("has lines that the deletion does not name")
        return None

    def _apply_hunks(self, lines: list[bytes]) -> bytes:
        result: list[bytes] = []
        position = 0
        for hunk in self.hunks:
            start = hunk.old_start - bool(hunk.old)
            end = start + len(hunk.old)
            if start < position or tuple(lines[start:end]) != hunk.old:
                raise self._misfit(f"is not what the hunk says from line {hunk.old_start} on")
            result += [*lines[position:start], *hunk.new]
            position = end
        return b"".join(result + lines[position:])

    def _misfit(self, reason: str) -> PatchError:
        return PatchError(f"{self.patch} does not fit: {self.path} {reason}; write that patch again with git diff")


def apply_all(changes: tuple[FileChange, ...], content: bytes | None) -> bytes | None:
    """The file after the whole series."""
    for change in changes:
        content = change.apply(content)
    return content


def unapply_all(changes: tuple[FileChange, ...], content: bytes | None) -> bytes | None:
    """The file before the whole series."""
    return apply_all(tuple(change.reversed() for change in reversed(changes)), content)
