"""``--data``: problems and gold answers of a published data set, or of a JSONL or Parquet file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from openrlhf_marge.data.rows import Row, read_rows
from openrlhf_marge.evaluation import DATA_SETS, DataSet
from openrlhf_marge.models import one_line


@dataclass(frozen=True, slots=True)
class TestProblem:
    """``place`` as in "FILE, line 3"; ``label`` is the gold answer, or a solution that ends in it."""

    place: str
    text: str
    label: str


def load_problems(data: str, input_key: str, label_key: str) -> list[TestProblem]:
    """The problems of a data set's name, NAME=FOLDER (a local copy of it), or a file, of which the keys are.

    ValueError naming the flag, the file or the row when they cannot be had, or there are none.
    """
    name, _, folder = data.partition("=")
    if name in DATA_SETS:
        rows = published_rows(name, DATA_SETS[name], folder)
        keys = (DATA_SETS[name].input_key, "as published"), (DATA_SETS[name].label_key, "as published")
    elif Path(data).is_file():
        rows, keys = read_rows(Path(data)), ((input_key, "--input_key"), (label_key, "--label_key"))
    else:
        raise ValueError(f"--data {data}: there is no such file; data sets with a name are {', '.join(DATA_SETS)}")
    problems = [TestProblem(row.place, *(_text(row, *key) for key in keys)) for row in rows]
    if not problems:
        raise ValueError(f"--data {data} has no rows")
    return problems


def _text(row: Row, key: str, flag: str) -> str:
    """As ``Row.text``; neither tokenizers nor Parquet take half a surrogate pair, which JSON may hold."""
    text = row.text(key, flag)
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError(f"{row.place}: the value of {key!r} ({flag}) holds half a surrogate pair; mend the row")
    return text


def published_rows(name: str, data_set: DataSet, folder: str) -> Iterator[Row]:
    """The rows as ``datasets`` loads them; a gold answer of several parts, a list, becomes one text."""
    from datasets import load_dataset

    if folder and not Path(folder).is_dir():
        raise ValueError(f"--data {name}={folder}: there is no such folder")
    for source, config in _parts(name, data_set, folder):
        try:
            rows = load_dataset(source, config, split=data_set.split)
        except Exception as e:  # a failed download is anything from OSError to errors of the client's own
            which = f"config {config}, split {data_set.split}" if config else f"split {data_set.split}"
            raise ValueError(
                f"--data {name}: {source} ({which}) cannot be loaded ({one_line(e)}); where there is "
                f"no internet give a local copy, --data {name}=FOLDER"
            ) from e
        for number, values in enumerate(rows, start=1):
            label = values.get(data_set.label_key)
            joined = {data_set.label_key: ", ".join(map(str, label))} if isinstance(label, list) else {}
            yield Row(f"{name}{f' ({config})' * bool(config)}, row {number}", values | joined)


def _parts(name: str, data_set: DataSet, folder: str) -> list[tuple[str, str | None]]:
    """Source and configuration of each part; ValueError for a folder that lacks one.

    The card of a clone of the hub's repository names its configurations. Files alone are in a folder for each, or are
    the whole.
    """
    if not folder or (Path(folder) / "README.md").is_file():
        return [(folder or data_set.path, config) for config in data_set.configs]
    places = [Path(folder) / config for config in data_set.configs if config]
    if not any(place.is_dir() for place in places):
        return [(folder, None)]
    if missing := [place for place in places if not place.is_dir()]:
        raise ValueError(f"--data {name}={folder}: there is no folder {missing[0]}, and others of its kind are there")
    return [(str(place), None) for place in places]
