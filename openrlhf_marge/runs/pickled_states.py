"""Reads states that versions up to 0.1 pickled, without running anything: a pickle may name only what is listed here.

What it names is not even loaded: stand-ins take the values, and the types that are used now are made from these.
"""

from __future__ import annotations

import hashlib
import pickle
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import msgspec

DIGEST_BYTES = 32
State = TypeVar("State")
TYPES = "openrlhf_marge.types"
# (module, class) -> its fields in the order of the pickles; None where these hold the names themselves.
ALLOWED: dict[tuple[str, str], tuple[str, ...] | None] = {
    ("openrlhf_marge.host.records", "RolloutRecord"): None,
    ("openrlhf_marge.offline.folder", "FileRecord"): None,
    ("openrlhf_marge.offline.totals", "Totals"): None,
    ("openrlhf_marge.guidance", "PoolState"): None,
    (TYPES, "Problem"): ("id", "prompt", "label", "prompt_ids", "max_response_tokens", "given_guidance"),
    (TYPES, "Guidance"): ("token_ids", "is_correct", "pass_rate", "visit"),
    (TYPES, "State"): ("index", "prefix_ids", "position", "guidance", "parent", "segment"),
    (TYPES, "Completion"): (
        *("token_ids", "reward", "is_correct", "truncated", "log_probs", "extra_logs", "weight_versions"),
    ),
    (TYPES, "StateGroup"): ("id", "problem", "state", "n_states", "completions", "value_gain"),
}  # fmt: skip


def read_pickled(path: Path, kind: type[State]) -> State:
    """The state in a file of an earlier version; ValueError naming it when it is torn, changed or something else."""
    with path.open("rb") as file:
        if not _is_whole(file, path.stat().st_size - DIGEST_BYTES):
            raise ValueError(f"{path} is torn or was changed; resume from another checkpoint")
        file.seek(0)
        return _loaded(file, path, kind)


def _is_whole(file: BinaryIO, size: int) -> bool:
    """Whether the digest of so many bytes is what follows them."""
    digest = hashlib.blake2b(digest_size=DIGEST_BYTES)
    for offset in range(0, max(0, size), 2**20):
        digest.update(file.read(min(2**20, size - offset)))
    return size >= 0 and file.read() == digest.digest()


def _loaded(file: BinaryIO, path: Path, kind: type[State]) -> State:
    try:
        return msgspec.convert(_Unpickler(file).load(), kind, from_attributes=True)
    except Exception as e:  # a pickle that was made to do harm raises what it likes
        raise ValueError(
            f"{path} is no state of a run: {type(e).__name__}: {e}; nothing of it was run; resume from another "
            "checkpoint"
        ) from e


class _StandIn:
    names: tuple[str, ...] | None = None

    def __setstate__(self, state: Any) -> None:
        self.__dict__ = dict(state if self.names is None else zip(self.names, state, strict=True))


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> type:
        if (module, name) not in ALLOWED:
            raise pickle.UnpicklingError(f"it names {module}.{name}")
        return type(name, (_StandIn,), {"names": ALLOWED[module, name]})
