"""MARGE's part of a checkpoint, beside OpenRLHF's: `<ckpt.path>/_marge/`.

`state_<step>.msgpack` is written before OpenRLHF saves that step, and `complete.json` names a step only after all
ranks have saved it. A crash at any moment therefore leaves the last complete step usable, with the state that belongs
to it.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from openrlhf_marge.data.files import read_object, writing
from openrlhf_marge.runs.pickled_states import read_pickled
from openrlhf_marge.runs.state_files import HasPool, State, check_state_file, read_state_file, write_state_file

ENDING, PICKLED = ".msgpack", ".pkl"  # of states; the second in versions up to 0.1


class CheckpointStore:
    """The files of one run."""

    def __init__(self, folder: str | os.PathLike) -> None:
        self._folder = Path(folder)

    @property
    def _index(self) -> Path:
        return self._folder / "complete.json"

    def state_file(self, step: int) -> Path:
        return self._folder / f"state_{step}{ENDING}"

    def write_state(self, step: int, state: HasPool) -> None:
        """Write the state that belongs to ``step``; whole or not at all."""
        self._folder.mkdir(parents=True, exist_ok=True)
        write_state_file(self.state_file(step), state)

    def read_state(self, step: int, kind: type[State]) -> State:
        """The state that belongs to ``step``; ValueError naming the file when it is missing, torn or changed.

        Earlier versions pickled their states: such a file is read, too, and refused when it holds anything else.
        """
        path, pickled = self.state_file(step), self._pickled_file(step)
        if path.is_file():
            return read_state_file(path, kind)
        if pickled.is_file():
            return read_pickled(pickled, kind)
        raise ValueError(f"{path} is missing, the part of the checkpoint of step {step} that holds the guidance")

    def fault(self, step: int) -> str | None:
        """What is wrong with the state of a step, without making anything of it; None where it can be read."""
        path, pickled = self.state_file(step), self._pickled_file(step)
        if not path.is_file():
            return None if pickled.is_file() else "is missing"
        try:
            check_state_file(path)
        except ValueError:
            return "is torn or was changed"
        return None

    def steps(self) -> list[int]:
        """Steps that have a state, ascending."""
        paths = [path for ending in (ENDING, PICKLED) for path in self._folder.glob(f"state_*{ending}")]
        numbers = {path.stem.removeprefix("state_") for path in paths}
        return sorted(int(number) for number in numbers if number.isdecimal())

    def _pickled_file(self, step: int) -> Path:
        return self._folder / f"state_{step}{PICKLED}"

    def complete(self) -> dict[str, int]:
        """Tag -> step of all checkpoints that were saved to the end, oldest first; ValueError for another file."""
        found = read_object(self._index) if self._index.is_file() else {}
        if not all(type(step) is int and step > 0 for step in found.values()):
            raise ValueError(f"{self._index} names no steps; mend it, or resume without --ckpt.load_enable")
        return found

    def commit(self, tag: str, step: int, present: set[str]) -> None:
        """Note that the checkpoint ``tag`` is complete; forget those whose tags are not ``present`` any more."""
        known = {t: s for t, s in self.complete().items() if t in present and t != tag} | {tag: step}
        with writing(self._index) as file:
            json.dump(known, file)
        for stale in set(self.steps()) - set(known.values()):
            self.state_file(stale).unlink(missing_ok=True)
            self._pickled_file(stale).unlink(missing_ok=True)


def repair(ckpt_path: str | os.PathLike) -> str | None:
    """Let OpenRLHF's `_actor/latest` name the last complete checkpoint that is still there; returns its tag, or None.

    A crash while saving may leave that file empty, or naming a checkpoint that was rotated away. ValueError when the
    checkpoints there are of another kind of run, and with the mend when our part of the last one cannot be read.
    """
    actor = Path(ckpt_path) / "_actor"
    if (actor / "latest").is_file() and not (Path(ckpt_path) / "_marge").is_dir():
        raise ValueError(
            f"--ckpt.load_enable: {actor} was not written with --experience_maker marge, at least not by this "
            "version; give another --ckpt.path"
        )
    store = CheckpointStore(Path(ckpt_path) / "_marge")
    complete = store.complete()
    present = [t for t in complete if (actor / t).is_dir()]
    if not present:
        return None
    if fault := store.fault(step := complete[present[-1]]):
        before = present[-2] if present[1:] else "the begin"
        raise ValueError(
            f"--ckpt.load_enable: {store.state_file(step)} {fault}; remove {actor / present[-1]}, and the run goes on "
            f"from {before}"
        )
    latest = actor / "latest"
    if not latest.is_file() or latest.read_text().strip() != present[-1]:
        with writing(latest) as file:
            file.write(present[-1])
    return present[-1]
