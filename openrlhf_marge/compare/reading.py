"""TOML -> Plan; ValueError with one sentence that names file, key and mend."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, TypeVar

from openrlhf_marge.compare.plan import Evaluation, LoopFlags, Method, Plan
from openrlhf_marge.compare.plan_checks import check_plan
from openrlhf_marge.runs.progress import UNITS, Budget

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Table = TypeVar("Table")
NUMBER = (int, float)
TYPES: Mapping[str, tuple[type | tuple[type, ...], str]] = {
    "str": (str, "a text"),
    "int": (int, "a whole number"),
    "float": (NUMBER, "a number"),
    "bool": (bool, "true or false"),
    "tuple[str, ...]": (list, "a list of texts"),
    "tuple[int, ...]": (list, "a list of whole numbers"),
}
TABLES = ("budget", "evaluate", "loop", "methods")


def read_plan(path: Path, out: Path, seeds: Sequence[int] | None = None) -> Plan:
    """The plan of a file; ``seeds`` in place of the file's."""
    try:
        root = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as e:
        raise ValueError(f"{path} cannot be read: {e.strerror}; name a compare file") from e
    except ValueError as e:
        raise ValueError(f"{path} is no TOML: {e}") from e
    for name in TABLES:
        if not isinstance(root.get(name, {}), dict):
            raise ValueError(f"{path}: {name} is no table; write [{name}]")
    top = {key: value for key, value in root.items() if key not in TABLES} | ({"seeds": list(seeds)} if seeds else {})
    plan = filled(
        Plan, str(path), top, file=str(path), out=out, methods=_methods(path, root),
        evaluate=filled(Evaluation, f"{path}, [evaluate]", root.get("evaluate", {})),
        budget=_budget(path, root["budget"]) if "budget" in root else None,
        loop=filled(LoopFlags, f"{path}, [loop]", root["loop"]) if "loop" in root else None,
    )  # fmt: skip
    check_plan(plan)
    return plan


def filled(cls: type[Table], place: str, table: Mapping[str, Any], **given: Any) -> Table:
    """The dataclass with the values of the TOML table, of the types that its fields have."""
    known = {f.name: f for f in fields(cls) if f.name not in given}
    for key, value in table.items():
        if key not in known:
            raise ValueError(f"{place}: the key {key!r} is not known; known are {', '.join(known)}")
        _check_type(f"{place}: {key}", value, known[key].type)
    required = [f.name for f in known.values() if f.default is MISSING]
    if missing := [name for name in required if name not in table]:
        raise ValueError(f"{place}: the key {missing[0]!r} is missing; add it")
    values = {key: tuple(value) if isinstance(value, list) else value for key, value in table.items()}
    return cls(**given, **values)


def _methods(path: Path, root: Mapping[str, Any]) -> tuple[Method, ...]:
    for name, table in root.get("methods", {}).items():
        if not isinstance(table, dict):
            raise ValueError(f"{path}: methods.{name} is no table; write [methods.NAME]")
    return tuple(
        filled(Method, f"{path}, [methods.{name}]", table, name=name)
        for name, table in root.get("methods", {}).items()
    )


def _budget(path: Path, table: Mapping[str, Any]) -> Budget:
    unknown = [unit for unit in table if unit not in UNITS]
    if unknown or len(table) != 1:
        found = f"the key {unknown[0]!r}" if unknown else f"{len(table)} keys"
        raise ValueError(f"{path}, [budget] has {found}; give exactly one of {', '.join(UNITS)}")
    ((unit, amount),) = table.items()
    _check_type(f"{path}, [budget]: {unit}", amount, "float")
    if not 0 < amount < math.inf:
        raise ValueError(f"{path}, [budget]: {unit} is {amount}; it must be a number above 0")
    return Budget(unit, amount)


def _check_type(name: str, value: Any, wanted: str) -> None:
    kind, text = TYPES[wanted]
    right = isinstance(value, kind) and (wanted == "bool" or not isinstance(value, bool))
    if right and isinstance(value, list):
        item, _ = TYPES["int" if "int" in wanted else "str"]
        right = all(isinstance(v, item) and not isinstance(v, bool) for v in value)
    if not right:
        raise ValueError(f"{name} is {value!r}; it must be {text}")
