"""MARGE's part of a checkpoint, beside OpenRLHF's: `<ckpt.path>/_marge/`.

`state_<step>.pkl` is written before OpenRLHF saves that step, and `complete.json` names a step only after all ranks
have saved it. A crash at any moment therefore leaves the last complete step usable, with the state that belongs to it.
"""

from __future__ import annotations

import hashlib
import json
import os
import pickle
from pathlib import Path
from typing import Any, BinaryIO

DIGEST_BYTES = 32


class CheckpointStore:
    """The files of one run."""

    def __init__(self, folder: str | os.PathLike) -> None:
        self._folder = Path(folder)

    @property
    def _index(self) -> Path:
        return self._folder / "complete.json"

    def state_file(self, step: int) -> Path:
        return self._folder / f"state_{step}.pkl"

    def write_state(self, step: int, state: Any) -> None:
        """Write the state that belongs to ``step``; whole or not at all."""
        self._folder.mkdir(parents=True, exist_ok=True)
        with _atomic(self.state_file(step)) as file:
            hashing = _HashingWriter(file)
            pickle.dump(state, hashing, protocol=pickle.HIGHEST_PROTOCOL)
            file.write(hashing.digest())

    def read_state(self, step: int) -> Any:
        """The state that belongs to ``step``; ValueError naming the file when it is missing, torn or changed."""
        path = self.state_file(step)
        if not path.is_file():
            raise ValueError(f"{path} is missing, the part of the checkpoint of step {step} that holds the guidance")
        size, digest = path.stat().st_size - DIGEST_BYTES, hashlib.blake2b(digest_size=DIGEST_BYTES)
        with path.open("rb") as file:
            for offset in range(0, max(0, size), 2**20):
                digest.update(file.read(min(2**20, size - offset)))
            if size < 0 or file.read() != digest.digest():
                raise ValueError(f"{path} is torn or was changed; resume from another checkpoint")
            file.seek(0)
            return pickle.load(file)

    def steps(self) -> list[int]:
        """Steps that have a state, ascending."""
        return sorted(int(path.stem.removeprefix("state_")) for path in self._folder.glob("state_*.pkl"))

    def complete(self) -> dict[str, int]:
        """Tag -> step of all checkpoints that were saved to the end, oldest first."""
        return json.loads(self._index.read_text()) if self._index.is_file() else {}

    def commit(self, tag: str, step: int, present: set[str]) -> None:
        """Note that the checkpoint ``tag`` is complete; forget those whose tags are not ``present`` any more."""
        known = {t: s for t, s in self.complete().items() if t in present and t != tag} | {tag: step}
        with _atomic(self._index) as file:
            file.write(json.dumps(known).encode())
        for stale in set(self.steps()) - set(known.values()):
            self.state_file(stale).unlink()


def repair(ckpt_path: str | os.PathLike) -> str | None:
    """Let OpenRLHF's `_actor/latest` name the last complete checkpoint that is still there; returns its tag, or None.

    A crash while saving may leave that file empty, or naming a checkpoint that was rotated away. ValueError when the
    checkpoints there are of another kind of run.
    """
    actor = Path(ckpt_path) / "_actor"
    if (actor / "latest").is_file() and not (Path(ckpt_path) / "_marge").is_dir():
        raise ValueError(
            f"--ckpt.load_enable: {actor} was not written with --experience_maker marge, at least not by this "
            "version; give another --ckpt.path"
        )
    present = [t for t in CheckpointStore(Path(ckpt_path) / "_marge").complete() if (actor / t).is_dir()]
    if not present:
        return None
    latest = actor / "latest"
    if not latest.is_file() or latest.read_text().strip() != present[-1]:
        with _atomic(latest) as file:
            file.write(present[-1].encode())
    return present[-1]


class _HashingWriter:
    def __init__(self, file: BinaryIO) -> None:
        self._file, self._hash = file, hashlib.blake2b(digest_size=DIGEST_BYTES)

    def write(self, data) -> int:
        self._hash.update(data)
        return self._file.write(data)

    def digest(self) -> bytes:
        return self._hash.digest()


class _atomic:
    """A file that takes its name only once it is whole and on disk."""

    def __init__(self, path: Path) -> None:
        self._path, self._part = path, path.with_name(path.name + ".part")

    def __enter__(self) -> BinaryIO:
        self._file = self._part.open("wb")
        return self._file

    def __exit__(self, kind, *_) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        if kind is None:
            os.replace(self._part, self._path)
