"""Writes files atomically, and checks the paths that a command is given."""

from __future__ import annotations

import csv
import json
import math
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, TextIO, TypeVar, get_args, get_type_hints

Record = TypeVar("Record")  # a frozen dataclass of texts and numbers
LOCAL_ENDINGS = (".json", ".jsonl", ".csv", ".parquet", ".arrow")


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A path to write a file to, which becomes ``path`` when the body has ended well; nothing is left otherwise.

    The bytes are on the disk before the name is: a machine that stops leaves the old file or the new one.
    """
    part = path.with_name(path.name + ".part")
    try:
        yield part
        with part.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def writing(path: Path) -> Iterator[TextIO]:
    """A text file that takes its name only once it is whole."""
    # Half a surrogate pair, which JSON may hold and UTF-8 may not, is written as JSON's own escape of it.
    with whole(path) as part, part.open("w", encoding="utf-8", errors="backslashreplace") as file:
        yield file


def write_json(path: Path, value: Any) -> None:
    """A JSON file with one key or element a line."""
    with writing(path) as file:
        file.write(json.dumps(value, indent=1) + "\n")


def read_object(path: Path) -> dict[str, Any]:
    """A JSON object; ValueError naming the file when it is none."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as e:
        raise ValueError(f"{path} is not JSON: {e}; mend it or move it away") from e
    if not isinstance(found, dict):
        raise ValueError(f"{path} is JSON but no object with keys; mend it or move it away")
    return found


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[str | int | float | None]]) -> None:
    """Numbers with six digits, so that rounding of other machines does not show; an empty cell for None."""
    with writing(path) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows([f"{cell:.6g}" if isinstance(cell, float) else cell for cell in row] for row in rows)


def write_records(path: Path, kind: type[Any], records: Iterable[Any]) -> None:
    """A CSV file with a row per record, a frozen dataclass of this kind, and a column per field."""
    write_csv(path, [f.name for f in fields(kind)], [list(asdict(record).values()) for record in records])


def read_records(path: Path, kind: type[Record]) -> list[Record]:
    """What ``write_records`` wrote, [] where there is no file yet; ValueError naming a row that is none.

    An empty cell of a number is the field's default.
    """
    if not path.is_file():
        return []
    hints = get_type_hints(kind).items()
    of = {name: next(t for t in (get_args(hint) or (hint,)) if t is not type(None)) for name, hint in hints}
    records = []
    with path.open(newline="", encoding="utf-8") as file:
        rows = csv.DictReader(file)
        try:
            for cells in rows:
                given = {name: text for name, text in cells.items() if text or of.get(name) is str}
                values = {name: of.get(name, str)(text) for name, text in given.items()}
                if odd := [n for n, value in values.items() if isinstance(value, float) and not math.isfinite(value)]:
                    raise ValueError(f"{odd[0]} is {values[odd[0]]}, which is no number to go on with")
                records.append(kind(**values))
        except (TypeError, ValueError, csv.Error) as e:
            raise ValueError(f"{path}, line {rows.line_num}: {e}; mend the row or take it out") from e
    return records


def check_out(out: Path, inputs: Iterable[Path] = ()) -> None:
    """ValueError when ``--out`` cannot be written, or is one of the files that are read."""
    for path in inputs:
        if out.is_file() and path.is_file() and out.samefile(path):
            raise ValueError(f"--out {out} is a file that is read, {path}, which it would replace; name another")
    if out.is_dir():
        raise ValueError(f"--out {out} is a folder; name a file")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=out.parent).close()
    except OSError as e:
        raise ValueError(f"--out {out} cannot be written: {e.strerror}; choose another place") from e


def check_out_folder(out: Path) -> None:
    """ValueError when ``--out`` is a file."""
    if out.exists() and not out.is_dir():
        raise ValueError(f"--out {out} is a file; name a folder")


def data_paths(paths: str) -> list[str]:
    """The paths of a data flag, as in OpenRLHF: PATH or PATH@SPLIT, commas between."""
    return [path.split("@")[0].strip() for path in paths.split(",")]


def check_local_files(flag: str, paths: str) -> None:
    """ValueError naming a file that is not there; ``paths`` as ``data_paths`` takes them."""
    for path in data_paths(paths):
        if path.endswith(LOCAL_ENDINGS) and not os.path.exists(path):
            raise ValueError(f"{flag} {path}: there is no such file")
