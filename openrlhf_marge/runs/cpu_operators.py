"""The folder of DeepSpeed's CPU operators (TORCH_EXTENSIONS_DIR), kept free of locks that killed runs left.

PyTorch marks an operator that is being built or loaded by a file, which a run that is killed then leaves there, and on
which every later run waits for ever, without a word.
"""

from __future__ import annotations

import contextlib
import fcntl
from pathlib import Path
from typing import TextIO

_in_use: dict[Path, TextIO] = {}


def use_operators(folder: Path) -> None:
    """Use the folder until this process ends; where no other one uses it, the locks in it are of killed runs, and go.

    Processes tell each other by ``flock``, which ends with a process however that ends.
    """
    if folder in _in_use or not folder.is_dir():
        return
    with contextlib.suppress(OSError):  # of a folder that is not ours to write, or a file system without locks
        file = _in_use[folder] = (folder / "in_use").open("w")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pass  # another process uses the folder
        else:
            for lock in folder.glob("*/lock"):
                lock.unlink(missing_ok=True)
        fcntl.flock(file, fcntl.LOCK_SH)
