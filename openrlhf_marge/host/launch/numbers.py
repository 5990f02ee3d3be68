"""Flags that are no numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any


def check_numbers(values: Mapping[str, Any], prefix: str = "--") -> None:
    """ValueError for a flag that is nan, which is neither above nor below what it is compared with."""
    for name, value in values.items():
        if isinstance(value, SimpleNamespace):
            check_numbers(vars(value), f"{prefix}{name}.")
        for number in value if isinstance(value, list | tuple) else (value,):
            if isinstance(number, float) and math.isnan(number):
                raise ValueError(f"{prefix}{name} is nan; give a number")
