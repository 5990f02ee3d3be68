"""The file of a state: frames of MessagePack between a head and a digest, so that a torn or changed one is seen.

A state is data alone: reading one runs nothing that stands in it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import Field, fields, replace
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, ClassVar, Protocol, TypeVar

import msgspec

from openrlhf_marge.data.files import whole
from openrlhf_marge.method.guidance import PoolState

DIGEST_BYTES = 32
FORMAT = b"openrlhf_marge state 1\n"  # how a file begins; frames follow, each its length in 8 bytes and MessagePack
FRAME_PROBLEMS = 10_000  # so that saving and loading take little memory beside the pool itself
NO_POOL = PoolState(guidance={}, visits={})


class HasPool(Protocol):
    """A frozen dataclass, of which ``pool`` may be large."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    @property
    def pool(self) -> PoolState: ...


State = TypeVar("State", bound=HasPool)


def write_state_file(path: Path, state: HasPool) -> None:
    """Write a state, whole or not at all."""
    digest = hashlib.blake2b(FORMAT, digest_size=DIGEST_BYTES)
    with whole(path) as part, part.open("wb") as file:
        file.write(FORMAT)
        for frame in map(msgspec.msgpack.encode, (replace(state, pool=NO_POOL), *_parts(state.pool))):
            for data in (len(frame).to_bytes(8, "big"), frame):
                digest.update(data)
                file.write(data)
        file.write(digest.digest())


def read_state_file(path: Path, kind: type[State]) -> State:
    """What ``write_state_file`` wrote; ValueError naming a file that is torn or was changed."""
    pool: Mapping[str, dict] = {field.name: {} for field in fields(PoolState)}
    try:
        with path.open("rb") as file:
            frames = _frames(file, path.stat().st_size)
            state = msgspec.msgpack.decode(next(frames), type=kind)
            decoder = msgspec.msgpack.Decoder(PoolState)
            for part in map(decoder.decode, frames):
                for name, values in pool.items():
                    values.update(getattr(part, name))
    except (ValueError, StopIteration) as e:  # msgspec's errors are ValueErrors
        raise ValueError(f"{path} is torn or was changed; resume from another checkpoint") from e
    return replace(state, pool=PoolState(**pool))


def check_state_file(path: Path) -> None:
    """ValueError when a file is torn or was changed; nothing is made of it."""
    with path.open("rb") as file:
        for _ in _frames(file, path.stat().st_size):
            pass


def _parts(pool: PoolState) -> Iterator[PoolState]:
    """The pool in parts that hold one of its mappings each, of at most ``FRAME_PROBLEMS`` problems."""
    for field in fields(PoolState):
        items = iter(getattr(pool, field.name).items())
        while part := dict(islice(items, FRAME_PROBLEMS)):
            yield replace(NO_POOL, **{field.name: part})


def _frames(file: BinaryIO, size: int) -> Iterator[bytes]:
    """The frames of a file; ValueError after the last one when the file is not as it was written."""
    digest, end = hashlib.blake2b(FORMAT, digest_size=DIGEST_BYTES), size - DIGEST_BYTES
    if file.read(len(FORMAT)) != FORMAT:
        raise ValueError("no state of this version")
    while file.tell() < end:
        length = file.read(8)
        n = int.from_bytes(length, "big")
        if n > end - file.tell():
            raise ValueError("a frame is longer than the file")
        frame = file.read(n)
        digest.update(length)
        digest.update(frame)
        yield frame
    if file.read() != digest.digest():
        raise ValueError("the digest is another one")
