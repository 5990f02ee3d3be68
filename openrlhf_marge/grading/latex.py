r"""An answer's LaTeX in one spelling: ``clean`` is idempotent and keeps what an answer means.

Text such as units becomes ``⟦text⟧``, so that it can be told from variables afterwards.
"""

from __future__ import annotations

import re

TEXT = re.compile(r"\\(?:text|mbox|textbf|textit|textrm|textnormal|textsf|texttt|hbox)\s*\{([^{}]*)\}")
FONT = re.compile(r"\\(?:mathrm|mathbf|mathit|mathsf|mathcal|boldsymbol|bm|mathnormal|operatorname\*?)\s*\{([^{}]*)\}")
WORD = re.compile(r"[A-Za-z]{2,}")
FUNCTIONS = frozenset(
    re.findall(
        r"\w+",
        "sin cos tan cot sec csc arcsin arccos arctan sinh cosh tanh arcsinh arccosh arctanh log ln lg exp max min "
        "gcd lcm",
    )
)
AND = re.compile(r"⟦\s*(?:,\s*)?(?:and|or)\s*⟧|(?<![A-Za-z\\])(?:and|or)(?![A-Za-z])", re.IGNORECASE)
REPLACED = (
    ("−", "-"), ("–", "-"), ("×", r"\times "), ("·", r"\cdot "), ("÷", "/"), ("≤", r"\le "), ("≥", r"\ge "),
    ("≠", r"\ne "), ("∞", r"\infty "), ("π", r"\pi "), ("∪", r"\cup "), ("∈", r"\in "), ("≈", r"\approx "),
    ("°", ""), ("²", "^{2}"), ("³", "^{3}"), ("½", r"\frac{1}{2}"), ("，", ","), ("（", "("), ("）", ")"),
    ("\u200b", ""), ("\ufeff", ""), ("\xa0", " "), ("€", ""), ("£", ""), ("¥", ""),
)  # fmt: skip
SIMPLE = tuple(
    (re.compile(pattern), by)
    for pattern, by in (
        (r"\\\$|\$", ""),
        (r"\\[()\[\]](?=\s*$)|^\s*\\[(\[]", ""),
        (r"\\begin\{(?:align|aligned|equation|gather)\*?\}|\\end\{(?:align|aligned|equation|gather)\*?\}", ""),
        (r"\\(?:displaystyle|textstyle|limits|nolimits|bf|rm|it|hline)(?![A-Za-z])", ""),
        (r"\\(?:left|right|[bB]igg?[lrm]?)(?![A-Za-z])\.?", ""),
        (r"\\(?:boxed|fbox)(?=\{)", ""),
        (r"(?<!\\)\\[!*]|\{\}", ""),
        (r"(?<=\d)\s*\{\s*,\s*\}\s*(?=\d)", ","),
        (r"(?<!\\)\\[,;: >]|~|\\q?quad(?![A-Za-z])|\\thinspace(?![A-Za-z])", " "),
        (r"\\[dtc]frac(?![A-Za-z])", r"\\frac"),
        (r"\\(?:leqslant|leqq|leq|le)(?![A-Za-z])|<=|=<", r"\\le "),
        (r"\\(?:geqslant|geqq|geq|ge)(?![A-Za-z])|>=", r"\\ge "),
        (r"\\lt(?![A-Za-z])", "<"),
        (r"\\gt(?![A-Za-z])", ">"),
        (r"\\(?:neq|ne)(?![A-Za-z])|!=|\\not\s*=", r"\\ne "),
        (r"\\(?:varnothing|O)(?![A-Za-z])|\\\{\s*\\\}", r"\\emptyset "),
        (r"\\mathbb\{R\}|\\mathbb R|\\(?:R|reals|Reals)(?![A-Za-z])", r"(-\\infty ,\\infty )"),
        (r"\\(?:langle|lparen)(?![A-Za-z])", "("),
        (r"\\(?:rangle|rparen)(?![A-Za-z])", ")"),
        (r"\\lbrace(?![A-Za-z])", r"\\{"),
        (r"\\rbrace(?![A-Za-z])", r"\\}"),
        (r"\\(?:lvert|rvert|vert|mid)(?![A-Za-z])", "|"),
        (r"\\(?:infin)(?![A-Za-z])|\binfinity\b|\binf\b", r"\\infty "),
        (r"\+\s*\\infty", r"\\infty "),
        (r"\^\s*\{?\s*\\circ\s*\}?|\\(?:degree|circ)(?![A-Za-z])", ""),
        (r"\\(?:overline|widebar)(?![A-Za-z])", r"\\bar"),
        (r"\\(?:to|rightarrow|Rightarrow|implies)(?![A-Za-z])", r"\\to "),
        (r"\\(?:ast|star)(?![A-Za-z])|\*\*", lambda m: "^" if m[0] == "**" else "*"),
        (r"\\(?:approx|simeq|thickapprox|equiv)(?![A-Za-z])", "="),
        (r"\\(?:cdotp?|times)(?![A-Za-z])|\*", r"\\cdot "),
        (r"\\%|%|\s+percent\b|\s+pct\b", "%"),
    )
)
TOKEN = r"(?:\d|[A-Za-z]|\\(?:pi|alpha|beta|gamma|theta|lambda|mu|phi|omega|sigma)(?![A-Za-z]))"
BRACED = r"\{((?:[^{}]|\{[^{}]*\})*)\}"
FRACTION = re.compile(rf"\\frac\s*(?:{BRACED}|({TOKEN}))\s*(?:{BRACED}|({TOKEN}))")
ROOT = re.compile(rf"\\sqrt\s*({TOKEN})")
THOUSANDS = re.compile(r"(?<![\d.])(\d{1,3})((?:, ?\d{3})+|(?: \d{3})+)(?![\d])")


def clean(answer: str) -> str:
    """``answer`` in one spelling, without decoration, spaces collapsed; thousands separators are left."""
    text = UNICODE_UNIT.sub("", answer)
    for old, new in REPLACED:
        text = text.replace(old, new)
    for _ in range(3):  # commands within commands
        text = FONT.sub(_unfont, TEXT.sub(r"⟦\1⟧", text))
    text = AND.sub(",", text)
    for pattern, by in SIMPLE:
        text = pattern.sub(by, text)
    text = _drop_units(_braced(text))
    return re.sub(r"\s+", " ", text).strip().rstrip(".,;: ").lstrip(",;: ") or text.strip()


def _unfont(match: re.Match) -> str:
    r"""``\mathrm{cm}`` is text, ``\mathrm{e}`` and ``\operatorname{arcsinh}`` are not."""
    inner = match[1]
    name = inner.strip()
    if name in FUNCTIONS:
        return f"\\{name} "
    return f"⟦{inner}⟧" if WORD.fullmatch(name) else inner


def _braced(text: str) -> str:
    r"""``\frac12`` -> ``\frac{1}{2}``, ``\sqrt3`` -> ``\sqrt{3}``."""
    text = ROOT.sub(r"\\sqrt{\1}", text)
    return FRACTION.sub(lambda m: rf"\frac{{{_first(m[1], m[2])}}}{{{_first(m[3], m[4])}}}", text)


def _first(braced: str | None, bare: str) -> str:
    return bare if braced is None else braced


UNIT_WORDS = (
    "dollars?|cents?|percent|degrees?|radians?|units?|square|cubic|inch|inches|feet|foot|ft|yards?|miles?|meters?|metres?|"
    "cm|mm|km|kg|grams?|ounces?|pounds?|lbs?|liters?|litres?|gallons?|seconds?|sec|minutes?|min|hours?|hrs?|days?|weeks?|"
    "months?|years?|mph|km/h|m/s|people|students|yuan|apples?|ways?|times?|points?|each|per"
)
UNITS = re.compile(rf"(?<=[\d}})%])\s*(?:(?:{UNIT_WORDS})\b\.?\s*(?:\^\{{?\d\}}?)?/?\s*)+$", re.IGNORECASE)
TEXT_AT_END = re.compile(r"(?<=\S)\s*⟦[^⟦⟧]*⟧\s*(?:\^\s*\{?\d\}?)?\s*$")
UNICODE_UNIT = re.compile(r"(?<=\d)\s*[ck]?m[²³]")


def _drop_units(text: str) -> str:
    """Text behind a value is a unit or a remark; an answer that is all text stays."""
    text = text.strip()
    while (shorter := TEXT_AT_END.sub("", text)) != text:
        text = shorter
    return UNITS.sub("", text)


def without_thousands(text: str) -> str:
    """``1,234,567`` and ``14 400`` as digits alone."""
    return THOUSANDS.sub(lambda m: m[0].replace(",", "").replace(" ", ""), text)
