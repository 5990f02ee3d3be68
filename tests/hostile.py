"""Files as they must not be: damaged bytes, and values of other types, for tests of everything that is read."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

DEEP, DEEPER = ("[" * depth + "]" * depth for depth in (300, 3000))  # the second deeper than Python's recursion goes
# As JSON text: some of these Python reads and writes, and other readers do not.
HOSTILE = [
    *("null", "true", "-1", "0", "0.5", "1e308", "1e999", "NaN", "-Infinity", "9" * 30, "9" * 5000, "{}", "[]"),
    *('""', '"0.5"', '"<script>alert(1)</script>"', '"a|b\\n|c|"', '"\\ud800"', '"\\u0000"', "[[]]", '{"a": [1]}'),
    *('"--flag"', DEEP, DEEPER),
]


class Damaged(bytes):
    """A failing test shows how they were damaged, not thousands of bytes."""

    how = ""

    def __repr__(self) -> str:
        return f"<{len(self)} bytes, {self.how}>" if len(self) > 900 else bytes.__repr__(self)

    @classmethod
    def of(cls, how: str, content: bytes) -> Damaged:
        made = cls(content)
        made.how = how
        return made


def damaged(whole: bytes) -> st.SearchStrategy[bytes]:
    """The bytes cut, with bits changed, with parts doubled or left out, in another encoding, or others altogether."""
    place = st.integers(0, max(0, len(whole) - 1))
    two = st.tuples(place, place).map(sorted)

    @st.composite
    def flipped(draw: Any) -> bytes:
        content, bits = bytearray(whole), draw(st.lists(st.tuples(place, st.integers(0, 7)), min_size=1, max_size=3))
        for at, bit in bits:
            content[at] ^= 1 << bit
        return Damaged.of(f"bits flipped at {bits}", bytes(content))

    return st.one_of(
        place.map(lambda end: Damaged.of("cut", whole[:end])),
        flipped(),
        flipped(),
        two.map(lambda ab: Damaged.of(f"doubled {ab}", whole[: ab[1]] + whole[ab[0] :])),
        two.map(lambda ab: Damaged.of(f"without {ab}", whole[: ab[0]] + whole[ab[1] :])),
        st.tuples(place, st.binary(max_size=40)).map(
            lambda ab: Damaged.of(f"{ab[1]!r} put in at {ab[0]}", whole[: ab[0]] + ab[1] + whole[ab[0] :])
        ),
        st.binary(max_size=200),
        st.sampled_from(
            [
                b"",
                Damaged.of("all zero", b"\0" * len(whole)),
                Damaged.of("as if in UTF-16", b"\xff\xfe" + whole),
                Damaged.of("in UTF-16", whole.decode("latin-1").encode("utf-16")),
            ]
        ),
    )


def swapped(value: Any) -> st.SearchStrategy[bytes]:
    """The value as JSON, in which something anywhere is of another type, gone, or has another name."""

    @st.composite
    def changed(draw: Any) -> bytes:
        mark = "\x01here\x01"
        text = json.dumps(_changed(draw, value, mark))
        return Damaged.of("another value", text.replace(json.dumps(mark), draw(st.sampled_from(HOSTILE))).encode())

    return changed()


def _changed(draw: Any, value: Any, mark: str) -> Any:
    """One place within the value is the mark, or its key is gone or another one."""
    if not isinstance(value, (dict, list)) or not value or draw(st.integers(0, 3)) == 0:
        return mark
    keys = list(value) if isinstance(value, dict) else range(len(value))
    key = draw(st.sampled_from(keys))
    copy = dict(value) if isinstance(value, dict) else list(value)
    match draw(st.integers(0, 5)) if isinstance(value, dict) else 5:
        case 0:
            del copy[key]
        case 1:
            copy[f"{key} "] = copy.pop(key)
        case _:
            copy[key] = _changed(draw, value[key], mark)
    return copy


def ends_well(read: Callable[[], Any], *names: object) -> Any:
    """What was read, or None where it was refused in a sentence that has one of the names."""
    try:
        return read()
    except (ValueError, OSError) as e:
        assert any(str(name) in str(e) for name in names), e
        return None


def command_ends_well(command: str, main: Callable[[list[str]], int], argv: list[object], *names: object) -> int:
    """The exit status, 0, or 1 or 2 with one sentence at the end that has one of the names."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = main([str(word) for word in argv])
    said = [line for line in err.getvalue().split("\n") if line.startswith(f"{command}: error: ")]
    assert status in (0, 1, 2) and len(said) == bool(status), (status, err.getvalue())
    if status:
        after = err.getvalue().partition(said[0])[2]
        assert not after.strip(), after  # the sentence has one line, and nothing comes after it
        assert any(str(name) in said[0] for name in names), said[0]
    return status
