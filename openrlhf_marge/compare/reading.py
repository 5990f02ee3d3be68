"""TOML -> Plan; ValueError with one sentence that names file, key and mend."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from openrlhf_marge.compare.file_parts import Evaluation, LoopFlags, Method, Tuning
from openrlhf_marge.compare.plan import Plan
from openrlhf_marge.compare.plan_checks import check_plan
from openrlhf_marge.runs.progress import UNITS, RunBudget

T = TypeVar("T")
TABLES = ("budget", "evaluate", "loop", "methods", "tune")
# msgspec speaks of JSON.
WORDS = {"`object`": "a table", "`array`": "a list", "Object missing required field": "add the missing key"}


def read_plan(path: Path, out: Path, seeds: Sequence[int] | None = None) -> Plan:
    """The plan of a file; ``seeds`` in place of the file's."""
    try:
        root = msgspec.toml.decode(path.read_text(encoding="utf-8"))
    except OSError as e:
        raise ValueError(f"{path} cannot be read: {e.strerror}; name a compare file") from e
    except (ValueError, RecursionError) as e:
        raise ValueError(f"{path} is no TOML: {e}") from e
    top = {key: value for key, value in root.items() if key not in TABLES} | ({"seeds": list(seeds)} if seeds else {})
    tables = _converted(f"{path}, [methods]", root.get("methods", {}), dict[str, Any])
    plan = _filled(
        Plan, str(path), top, file=str(path), out=out,
        methods=tuple(_filled(Method, f"{path}, [methods.{name}]", t, name=name) for name, t in tables.items()),
        evaluate=_filled(Evaluation, f"{path}, [evaluate]", root.get("evaluate", {})),
        budget=_budget(f"{path}, [budget]", root["budget"]) if "budget" in root else None,
        loop=_filled(LoopFlags, f"{path}, [loop]", root["loop"]) if "loop" in root else None,
        tune=_filled(Tuning, f"{path}, [tune]", root["tune"]) if "tune" in root else None,
    )  # fmt: skip
    plan = replace(plan, marks=tuple(sorted(plan.marks)))
    check_plan(plan)
    return plan


def _filled(cls: type[T], place: str, table: Any, **given: Any) -> T:
    """The dataclass with the values of the TOML table, of the types that its fields have."""
    known = [f.name for f in fields(cls) if f.name not in given]
    for key in _converted(place, table, dict[str, Any]):
        if key not in known:
            raise ValueError(f"{place}: the key {key!r} is not known; known are {', '.join(known)}")
    return _converted(place, {**table, **given}, cls)


def _budget(place: str, table: Any) -> RunBudget:
    amounts = _converted(place, table, dict[str, Any])
    unknown = [unit for unit in amounts if unit not in UNITS]
    if unknown or len(amounts) != 1:
        found = f"the key {unknown[0]!r}" if unknown else f"{len(amounts)} keys"
        raise ValueError(f"{place} has {found}; give exactly one of {', '.join(UNITS)}")
    ((unit, given),) = amounts.items()
    amount = _converted(f"{place}: {unit}", given, float)
    if not 0 < amount < math.inf:
        raise ValueError(f"{place}: {unit} is {amount:g}; it must be a number above 0")
    return RunBudget(unit, amount)


def _converted(place: str, value: Any, kind: type[T]) -> T:
    try:
        return msgspec.convert(value, kind)
    except (ValueError, RecursionError) as e:  # msgspec's errors are the first
        said = str(e)
        for word, ours in WORDS.items():
            said = said.replace(word, ours)
        raise ValueError(f"{place}: {said}") from e
