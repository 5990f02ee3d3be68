"""What an evaluation says of a data set, and the file that ``cli/evaluate.py`` writes of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openrlhf_marge.data.files import read_object
from openrlhf_marge.evaluation.data_sets import DATA_SETS
from openrlhf_marge.evaluation.estimates import Estimate

SCORES = ("pass@", "maj@", "greedy_pass@")  # how the names of metrics begin that say how good a model is
ERROR = "_standard_error"  # ends the key of a metric's standard error
SAME_NAME = "has two data sets of one name, the file's without its folder and ending"


@dataclass(frozen=True, slots=True)
class EvaluationResult:
    """``told``: the data set and how its responses were sampled, by the keys of the file; ``estimates`` by metric."""

    told: Mapping[str, Any]
    estimates: Mapping[str, Estimate]

    @property
    def scores(self) -> dict[str, Estimate]:
        """Without the shares of failures."""
        return {name: estimate for name, estimate in self.estimates.items() if name.startswith(SCORES)}

    def as_dict(self) -> dict[str, Any]:
        """The object that the file holds."""
        numbers = ({name: e.mean, f"{name}{ERROR}": e.standard_error} for name, e in self.estimates.items())
        return {**self.told, **{key: value for of_metric in numbers for key, value in of_metric.items()}}


Results = dict[str, EvaluationResult]  # by the names of the data sets


def read_results(path: Path) -> Results:
    """A file of cli/evaluate.py; ValueError naming it, and the key of a number that is none."""
    found = read_object(path)
    results = {found["data"]: found} if isinstance(found.get("data"), str) else found
    if not results or not all(isinstance(values, dict) for values in results.values()):
        raise ValueError(f"{path} is no result of openrlhf_marge.cli.evaluate; evaluate again, or move it away")
    named = {data_name(data): values for data, values in results.items()}
    if len(named) < len(results):
        raise ValueError(f"{path} {SAME_NAME}; evaluate them into a file each, or rename one")
    return {name: _result(path, name, values) for name, values in named.items()}


def data_name(data: str) -> str:
    """What --data of cli/evaluate.py names: a test set, the NAME of NAME=FOLDER, or a file without its ending."""
    name = data.partition("=")[0]
    return name if name in DATA_SETS else Path(data).stem


def _result(path: Path, data: str, values: Mapping[str, Any]) -> EvaluationResult:
    estimates = {
        key: Estimate(_number(path, data, values, key), _error(path, data, values, f"{key}{ERROR}"))
        for key in values
        if not key.endswith(ERROR) and (key.startswith(SCORES) or f"{key}{ERROR}" in values)
    }
    numbers = {*estimates, *(f"{name}{ERROR}" for name in estimates)}
    return EvaluationResult({key: value for key, value in values.items() if key not in numbers}, estimates)


def _error(path: Path, data: str, values: Mapping[str, Any], key: str) -> float | None:
    """None of a single problem, and in files of others that do not say it."""
    return None if values.get(key) is None else _number(path, data, values, key)


def _number(path: Path, data: str, values: Mapping[str, Any], key: str) -> float:
    value = values[key]
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ValueError(f"{path}: the result {key} of {data!r:.80} is {value!r:.80} and no number; evaluate again")
    if key.startswith(SCORES) and not 0 <= value <= 1:
        raise ValueError(f"{path}: the result {key} of {data!r:.80} is {value:g} and no share; evaluate again")
    return value
