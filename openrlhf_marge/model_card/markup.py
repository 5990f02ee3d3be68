"""Texts of any kind within Markdown."""

from __future__ import annotations

import re
from typing import Any


def plain(value: Any) -> str:
    """As text of a line or a table's cell, which no character of it ends, and none of it is markup."""
    return re.sub(r"[\\`*\[\]<>|~&]|(?<!\w)#|(?<![^\W_])_|_(?![^\W_])", r"\\\g<0>", " ".join(str(value).split()))


def code(text: str) -> str:
    """As code, in more backticks than the text has in a row; line breaks as in bash's $'a\\nb'."""
    text = text.replace("\r", "\\r").replace("\n", "\\n")
    ticks = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    around = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{ticks}{around}{text}{around}{ticks}"
