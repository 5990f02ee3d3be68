"""Tables as data -> Markdown and LaTeX, as Table 1 of the paper: best in bold, second best underlined."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

BEST, SECOND = "best", "second"
MARKDOWN = {BEST: "**{}**", SECOND: "<u>{}</u>", "": "{}"}
LATEX = {BEST: r"\textbf{{{}}}", SECOND: r"\underline{{{}}}", "": "{}"}
LATEX_SPECIAL = {
    "\\": r"\textbackslash{}", "±": r"$\pm$", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "{": r"\{", "}": r"\}", **{c: f"\\{c}" for c in "&%$#_"},
}  # fmt: skip


@dataclass(frozen=True)
class Cell:
    """``mark`` is BEST, SECOND or ""."""

    text: str
    mark: str = ""


@dataclass(frozen=True)
class Table:
    """``columns`` are (group, name), those of a group side by side; ``corner`` heads the labels of the rows."""

    title: str
    corner: str
    columns: Sequence[tuple[str, str]]
    rows: Sequence[tuple[str, Sequence[Cell]]]


def marks(values: Sequence[float], digits: int) -> list[str]:
    """BEST for the highest and SECOND for the next one, as they are shown; equal ones share their mark."""
    shown = [round(value, digits) for value in values]
    order = sorted(set(shown), reverse=True)
    return [(BEST, SECOND)[order.index(value)] if order.index(value) < 2 else "" for value in shown]


def markdown(table: Table) -> str:
    """With its title as a heading."""
    heads = [table.corner, *(f"{group} {name}".strip() for group, name in table.columns)]
    rows = [[label, *(MARKDOWN[cell.mark].format(cell.text) for cell in cells)] for label, cells in table.rows]
    lines = [heads, ["---"] * len(heads), *rows]
    body = "\n".join("| " + " | ".join(word.replace("|", "\\|") for word in line) + " |" for line in lines)
    return f"## {table.title}\n\n{body}\n"


def latex(table: Table) -> str:
    """For the package booktabs."""
    groups = [(group, len(list(columns))) for group, columns in groupby(table.columns, key=lambda column: column[0])]
    over = " & ".join(["", *(rf"\multicolumn{{{width}}}{{c}}{{{_tex(group)}}}" for group, width in groups)])
    under = " & ".join(_tex(word) for word in (table.corner, *(name for _, name in table.columns)))
    rows = [
        " & ".join([_tex(label), *(LATEX[cell.mark].format(_tex(cell.text)) for cell in cells)])
        for label, cells in table.rows
    ]
    heads = [over, under] if any(group for group, _ in groups) else [under]
    lines = [rf"\begin{{tabular}}{{l{'c' * len(table.columns)}}}", r"\toprule", *(rf"{h} \\" for h in heads)]
    lines += [r"\midrule", *(rf"{row} \\" for row in rows), r"\bottomrule", r"\end{tabular}"]
    return f"% {table.title}\n" + "\n".join(lines) + "\n"


def _tex(text: str) -> str:
    return re.sub("[" + re.escape("".join(LATEX_SPECIAL)) + "]", lambda found: LATEX_SPECIAL[found[0]], text)
