"""page.html with style, script and data inside: it loads nothing, and no text of a model becomes markup."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent


def render(title: str, data: Mapping[str, Any]) -> str:
    """The whole page; ValueError when the data hold a number that JSON lacks."""
    script = _read("curves.js") + _read("page.js")
    parts = {
        "title": html.escape(title),
        "style": _read("page.css"),
        "script": script,
        # No other script may run, whatever stands in the data.
        "script_hash": base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        "data": as_json(data),
    }
    return re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], _read("page.html"))


def as_json(data: Mapping[str, Any]) -> str:
    """For a script element, which "</script" in the data would close and "<!--" would hide."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c")


def _read(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8")
