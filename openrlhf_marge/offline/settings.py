"""What an unfinished folder was begun with: going on with other settings would mix two things under one name."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def check_settings(path: Path, settings: Mapping[str, Any]) -> None:
    """Write the flags and their values, or compare them with those there; ValueError naming a flag that differs."""
    wanted = json.loads(json.dumps(settings))
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(path.name + ".part")
        part.write_text(json.dumps(wanted, indent=1) + "\n", encoding="utf-8")
        os.replace(part, path)
        return
    there = json.loads(path.read_text(encoding="utf-8"))
    for flag in {**there, **wanted}:
        if there.get(flag) != wanted.get(flag):
            raise ValueError(
                f"--out {path.parent} was begun with {flag} {there.get(flag)}, not {wanted.get(flag)}; give the same "
                "flags to go on, or another --out"
            )
