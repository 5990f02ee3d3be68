"""The spellings that ``latex.clean`` turns into one, in the order in which it does so."""

from __future__ import annotations

import re
from collections.abc import Callable

Rewrite = tuple[re.Pattern, str | Callable[[re.Match], str]]


def compiled(*rewrites: tuple[str, str | Callable[[re.Match], str]]) -> tuple[Rewrite, ...]:
    """Patterns compiled once."""
    return tuple((re.compile(pattern), by) for pattern, by in rewrites)


def _radians(match: re.Match) -> str:
    return rf"(\frac{{\pi \cdot {match[1]}}}{{180}})"


DEGREE = r"(?:\^\s*\{?\s*\\circ(?![A-Za-z])\s*\}?|\\degree(?![A-Za-z]))"
# What has to be seen before fonts and texts are unwrapped.
FIRST = compiled(
    (r"(?<=\d)\s*(?:\{\s*,\s*\}|,\s*\\!)\s*(?=\d{3})", ""),  # thousands, as no list is written
    (r"\\not\s*\\in(?![A-Za-z])", r"\\notin "),
    (rf"{DEGREE}\s*\\(?:mathrm|text)\s*\{{\s*[CF]\s*\}}", ""),
    (r"\\(?:text)?color\s*\{[^{}]*\}", ""),
    (rf"(?<=sin|cos|tan|cot|sec|csc)\s*\(?\s*(\d+(?:\.\d+)?)\s*{DEGREE}\s*\)?", _radians),
    (r"\{\s*([^{}]+?)\s*\\choose\s*([^{}]+?)\s*\}|^(\w+)\s*\\choose\s*(\w+)$", lambda m: _pair("binom", m)),
    (r"\{\s*([^{}]+?)\s*\\over\s*([^{}]+?)\s*\}|^(\w+)\s*\\over\s*(\w+)$", lambda m: _pair("frac", m)),
    (r"\\begin\{cases\}(.*?)\\end\{cases\}", lambda m: m[1].replace(r"\\", ",").replace("&", " ")),
    (r"(?<![\\A-Za-z])sqrt\s*\(([^()]*)\)", r"\\sqrt{\1}"),
    (r"^\s*(?:USD|EUR|RMB|Rs\.?)\s*(?=\d)", ""),
    (r"\\(?:lor|vee|land|wedge)(?![A-Za-z])(?=.*[=<>])", ","),
)


def _pair(command: str, match: re.Match) -> str:
    first, second = match[1] or match[3], match[2] or match[4]
    return rf"\{command}{{{first}}}{{{second}}}"


CHARACTERS = (
    ("−", "-"), ("–", "-"), ("×", r"\times "), ("·", r"\cdot "), ("÷", "/"), ("≤", r"\le "), ("≥", r"\ge "),
    ("≠", r"\ne "), ("∞", r"\infty "), ("π", r"\pi "), ("∪", r"\cup "), ("∈", r"\in "), ("≈", r"\approx "),
    ("°", r"^\circ "), ("√", r"\sqrt "), ("。", "."), ("²", "^{2}"), ("³", "^{3}"), ("½", r"\frac{1}{2}"),
    ("，", ","), ("（", "("), ("）", ")"), ("\u200b", ""), ("\ufeff", ""), ("\xa0", " "),
    ("€", ""), ("£", ""), ("¥", ""),
)  # fmt: skip
THEN = compiled(
    (r"\\\$|\$", ""),
    (r"\\[()\[\]](?=\s*$)|^\s*\\[(\[]", ""),
    (r"\\begin\{(?:align|aligned|equation|gather)\*?\}|\\end\{(?:align|aligned|equation|gather)\*?\}", ""),
    (
        r"\\(?:displaystyle|textstyle|limits|nolimits|bf|rm|it|hline|large|Large|LARGE|huge|small|underline)(?![A-Za-z])",
        "",
    ),
    (r"\\(?:left|right|[bB]igg?[lrm]?)(?![A-Za-z])\.?", ""),
    (r"\\(?:boxed|fbox)(?=\{)", ""),
    (r"(?<!\\)\\[!*]|\{\}", ""),
    (r"(?<!\\)\\[,;: >]|~|\\q?quad(?![A-Za-z])|\\thinspace(?![A-Za-z])", " "),
    (r"\\[dtc]frac(?![A-Za-z])", r"\\frac"),
    (r"\\[dt]binom(?![A-Za-z])", r"\\binom"),
    (r"\\div(?![A-Za-z])", "/"),
    (r"\\pmod\s*(\w)", r"\\pmod{\1}"),
    (r"\\(?:leqslant|leqq|leq|le)(?![A-Za-z])|<=|=<", r"\\le "),
    (r"\\(?:geqslant|geqq|geq|ge)(?![A-Za-z])|>=", r"\\ge "),
    (r"\\lt(?![A-Za-z])", "<"),
    (r"\\gt(?![A-Za-z])", ">"),
    (r"\\(?:neq|ne)(?![A-Za-z])|!=|\\not\s*=", r"\\ne "),
    (r"\\(?:varnothing|O)(?![A-Za-z])|\\\{\s*\\\}", r"\\emptyset "),
    (
        r"\\mathbb\{R\}|\\mathbb R|\\(?:R|reals|Reals)(?![A-Za-z])|⟦\s*all real(?: number)?s\s*⟧",
        r"(-\\infty ,\\infty )",
    ),
    (r"\\(?:langle|lparen)(?![A-Za-z])", "("),
    (r"\\(?:rangle|rparen)(?![A-Za-z])", ")"),
    (r"\\lbrace(?![A-Za-z])", r"\\{"),
    (r"\\rbrace(?![A-Za-z])", r"\\}"),
    (r"\\(?:lvert|rvert|vert|mid)(?![A-Za-z])", "|"),
    (r"\\(?:infin)(?![A-Za-z])|\binfinity\b|\binf\b", r"\\infty "),
    (r"\+\s*\\infty", r"\\infty "),
    (rf"{DEGREE}(?!\s*\d)", ""),  # 12 degrees 30 minutes are no 1230
    (r"\\(?:overline|widebar)(?![A-Za-z])", r"\\bar"),
    (r"\\(?:to|rightarrow|Rightarrow|implies)(?![A-Za-z])", r"\\to "),
    (r"\\(?:ast|star)(?![A-Za-z])|\*\*", lambda m: "^" if m[0] == "**" else "*"),
    (r"\\(?:approx|simeq|thickapprox|equiv)(?![A-Za-z])", "="),
    (r"\\(?:cdotp?|times)(?![A-Za-z])|\*", r"\\cdot "),
    (r"\\%|%|\s+percent\b|\s+pct\b", "%"),
    (r"\+\s*c$", "+C"),  # the constant of integration
)
