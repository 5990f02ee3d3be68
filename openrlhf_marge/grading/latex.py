r"""An answer's LaTeX in one spelling: ``clean`` is idempotent and keeps what an answer means.

Text such as units becomes ``⟦text⟧``, so that it can be told from variables afterwards.
"""

from __future__ import annotations

import re

from openrlhf_marge.grading.rewrites import CHARACTERS, FIRST, THEN
from openrlhf_marge.grading.units import UNICODE_UNIT, drop_units

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
TOKEN = r"(?:\d|[A-Za-z]|\\(?:pi|alpha|beta|gamma|theta|lambda|mu|phi|omega|sigma)(?![A-Za-z]))"
BRACED = r"\{((?:[^{}]|\{[^{}]*\})*)\}"
FRACTION = re.compile(rf"\\frac\s*(?:{BRACED}|({TOKEN}))\s*(?:{BRACED}|({TOKEN}))")
ROOT = re.compile(rf"\\sqrt\s*(\[[^\[\]]*\])?\s*({TOKEN})")
THOUSANDS = re.compile(r"(?<![\d.])(\d{1,3})((?:,\d{3})+|(?: \d{3})+)(?![\d])")


def clean(answer: str) -> str:
    """``answer`` in one spelling, without decoration, spaces collapsed; thousands separators are left."""
    text = UNICODE_UNIT.sub("", answer)
    for old, new in CHARACTERS:
        text = text.replace(old, new)
    for pattern, by in FIRST:
        text = pattern.sub(by, text)
    for _ in range(3):  # commands within commands
        text = FONT.sub(_unfont, TEXT.sub(_text, text))
    text = AND.sub(", ", text)
    for pattern, by in THEN:
        text = pattern.sub(by, text)
    text = drop_units(_braced(text))
    return re.sub(r"\s+", " ", text).strip().rstrip(".,;: ").lstrip(",;: ") or text.strip()


def _text(match: re.Match) -> str:
    """Without a letter it is a number or a sign that somebody set as text."""
    return f"⟦{match[1]}⟧" if re.search("[A-Za-z]", match[1]) else match[1]


def _unfont(match: re.Match) -> str:
    r"""``\mathrm{cm}`` is text, ``\mathrm{e}`` and ``\operatorname{arcsinh}`` are not."""
    inner = match[1]
    name = inner.strip()
    if name in FUNCTIONS:
        return f"\\{name} "
    return f"⟦{inner}⟧" if WORD.fullmatch(name) else inner


def _braced(text: str) -> str:
    r"""``\frac12`` -> ``\frac{1}{2}``, ``\sqrt3`` -> ``\sqrt{3}``."""
    text = ROOT.sub(lambda m: rf"\sqrt{m[1] or ''}{{{m[2]}}}", text)
    return FRACTION.sub(lambda m: rf"\frac{{{_first(m[1], m[2])}}}{{{_first(m[3], m[4])}}}", text)


def _first(braced: str | None, bare: str) -> str:
    return bare if braced is None else braced


def without_thousands(text: str) -> str:
    """``1,234,567`` and ``14 400`` as digits alone."""
    return THOUSANDS.sub(lambda m: m[0].replace(",", "").replace(" ", ""), text)
