"""The prompt and evaluation data of a launch script, read once by OpenRLHF's own loader before any engine starts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from datasets.exceptions import DatasetNotFoundError

from openrlhf_marge.data.files import check_local_files, data_paths
from openrlhf_marge.data.rows import read_rows as rows_of_file
from openrlhf_marge.host.rollout.data import read_rows
from openrlhf_marge.host.rollout.tokens import s0_text
from openrlhf_marge.method.config import MargeConfig
from openrlhf_marge.models import one_line


def check_datasets(args: Any) -> Any:
    """The rows of the prompt data.

    ValueError naming flag, file and row when data is missing, lacks a column, or has an empty prompt or label.
    """
    if not args.data.prompt_dataset:
        raise ValueError("--data.prompt_dataset is not set; name the file, folder or hub data set of the problems")
    if not args.data.label_key:
        raise ValueError("--data.label_key is not set; the grader needs the column of the gold answers")
    data = args.data
    rows = check_dataset(args, "--data.prompt_dataset", data.prompt_dataset, data.prompt_probs, data.prompt_split)
    if hasattr(args, "marge") and args.marge.guidance_key:
        check_guidance(f"--data.prompt_dataset {data.prompt_dataset}", rows, args.marge)
    if args.eval.dataset:
        check_dataset(args, "--eval.dataset", args.eval.dataset, None, args.eval.split)
    return rows


def check_guidance(name: str, rows: Any, config: MargeConfig) -> None:
    """Given guidance is a response as this run's model would write it, s_0 included; rows may be without one."""
    key = config.guidance_key
    if key not in rows.column_names:
        columns = ", ".join(rows.column_names)
        raise ValueError(f"{name} has no column {key!r} (--marge.guidance_key); it has {columns}")
    for number, text in enumerate(rows[key], start=1):
        if text and not text.startswith(s0_text(config)):
            raise ValueError(
                f"{name}, row {number}: column {key!r} (--marge.guidance_key) does not start with --marge.cot_prefix "
                f"{s0_text(config)!r}; set the flag to what it starts with, or to nothing"
            )


def check_dataset(args: Any, flag: str, paths: str, probabilities: str | None, split: str) -> Any:
    """Check one data flag and return its rows; ``paths`` may name several data sets, separated by commas."""
    check_local_files(flag, paths)
    try:
        data = read_rows(args, paths, probabilities, split)
    except (DatasetNotFoundError, FileNotFoundError, ConnectionError) as e:
        raise ValueError(f"{flag} {paths} cannot be found: {e}") from e
    except StopIteration as e:  # of an empty file
        raise ValueError(f"{flag} {paths} has no rows") from e
    except Exception as e:
        raise ValueError(f"{flag} {paths} cannot be read: {_reason(paths, e)}") from e
    if not len(data):
        raise ValueError(f"{flag} {paths} has no rows")
    for key_flag, key in (("--data.input_key", args.data.input_key), ("--data.label_key", args.data.label_key)):
        if key not in data.column_names:
            columns = ", ".join(data.column_names)
            raise ValueError(f"{flag} {paths} has no column {key!r} ({key_flag}); it has {columns}")
        for row, value in enumerate(_values(data, key, f"{flag} {paths}"), start=1):
            if value is None or not str(value).strip():
                raise ValueError(f"{flag} {paths}, row {row}: column {key!r} ({key_flag}) is empty; fill or drop it")
    return data


def _reason(paths: str, error: Exception) -> str:
    """The first line that is no row, where a local file has one; what ``datasets`` says names none."""
    for path in data_paths(paths):
        if path.endswith(".jsonl"):
            try:
                for _ in rows_of_file(Path(path)):
                    pass
            except (ValueError, OSError) as e:
                return str(e)
    return f"{type(error).__name__}: {one_line(error.__cause__ or error)}"


def _values(data: Any, key: str, name: str) -> Sequence[Any]:
    """A column; ValueError naming the first row whose text is not UTF-8, which shows only when it is read."""
    try:
        return list(data[key])
    except UnicodeDecodeError:
        for row in range(len(data)):
            try:
                data.select([row])[key][0]
            except UnicodeDecodeError as e:
                raise ValueError(f"{name}, row {row + 1}: column {key!r} is not UTF-8 ({e}); save it as UTF-8") from e
        raise
