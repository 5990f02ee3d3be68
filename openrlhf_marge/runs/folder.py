"""Reads a run's folder beside the TensorBoard log: summary, flags, dumps, evaluations.

Of train_ppo_ray, as examples/quickstart.py and cli/compare.py write it:  summary.json, before.json, after.json, dump/
Of a DPO loop (cli/marge_dpo.py):  summary.json, iteration_N/{heldout.json, explore/}, iteration 0 the model before
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import count, takewhile
from pathlib import Path
from typing import Any

from openrlhf_marge.data.redaction import redacted_words
from openrlhf_marge.evaluation import DATA_SETS

Results = dict[str, dict[str, Any]]  # data set -> what cli/evaluate.py says of it


def read_summary(run: Path) -> dict[str, Any]:
    """RUN/summary.json, its flags without secrets; {} when it is not there, ValueError when it is no JSON object."""
    path = run / "summary.json"
    summary = read_object(path) if path.exists() else {}
    flags = summary.get("training_flags", [])
    if not isinstance(flags, list) or not all(isinstance(word, str) for word in flags):
        raise ValueError(f"{path}: training_flags is no list of texts; write the words of the command, one each")
    return summary | ({"training_flags": redacted_words(flags)} if flags else {})


def read_object(path: Path) -> dict[str, Any]:
    """A JSON object; ValueError naming the file when it is none."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as e:
        raise ValueError(f"{path} is not JSON: {e}; mend it or move it away") from e
    if not isinstance(found, dict):
        raise ValueError(f"{path} is JSON but no object with keys; mend it or move it away")
    return found


def flag_values(flags: Sequence[str]) -> dict[str, str]:
    """Command line flags -> their values, "" for a switch; the last one wins, as on the command line."""
    values: dict[str, str] = {}
    name = ""
    for word in flags:
        if word.startswith("--"):
            name, _, value = word.partition("=")
            values[name] = value
        elif name:
            values[name] = f"{values[name]} {word}".strip()
    return values


def find_dumps(run: Path, flags: Mapping[str, str]) -> list[Path]:
    """Those of a loop's iterations, or the --marge.dump_dir of the run's flags, or RUN/dump; [] when none is there."""
    if of_loop := [f / "explore" for f in iteration_folders(run)[1:] if (f / "explore").is_dir()]:
        return of_loop
    places = [Path(folder) for folder in (flags.get("--marge.dump_dir"), run / "dump") if folder]
    return [folder for folder in places if folder.is_dir()][:1]


def iteration_folders(run: Path) -> list[Path]:
    """Folders of a DPO loop's evaluated iterations, iteration 0 first; none when the run is no loop."""
    folders = (run / f"iteration_{number}" for number in count())
    return list(takewhile(lambda folder: (folder / "heldout.json").is_file(), folders))


def read_evaluations(run: Path) -> list[Results]:
    """Before training, and after it or after each iteration; empty when the run was not evaluated so."""
    files = [folder / "heldout.json" for folder in iteration_folders(run)] or [run / "before.json", run / "after.json"]
    return [read_results(path) for path in files] if all(path.is_file() for path in files) else []


def read_results(path: Path) -> Results:
    """A file of cli/evaluate.py by the names of its data sets; ValueError naming it when it is something else."""
    found = read_object(path)
    results = {found["data"]: found} if isinstance(found.get("data"), str) else found
    if not results or not all(isinstance(numbers, dict) for numbers in results.values()):
        raise ValueError(f"{path} is no result of openrlhf_marge.cli.evaluate; evaluate again, or move it away")
    return {data_name(data): numbers for data, numbers in results.items()}


def data_name(data: str) -> str:
    """What --data of cli/evaluate.py names: a test set, the NAME of NAME=FOLDER, or a file without its ending."""
    name = data.partition("=")[0]
    return name if name in DATA_SETS else Path(data).stem
