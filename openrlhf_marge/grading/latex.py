r"""An answer's LaTeX in one spelling: ``clean`` is idempotent and keeps what an answer means.

Text such as units becomes ``⟦text⟧``, so that it can be told from variables afterwards.
"""

from __future__ import annotations

import re
import unicodedata

from openrlhf_marge.grading.characters import CHARACTERS, DIGITS, FRACTIONS, LOWERED, RAISED, RUNS
from openrlhf_marge.grading.plain import plain_notation
from openrlhf_marge.grading.rewrites import FIRST, LISTS, THEN, WORDS
from openrlhf_marge.grading.units import ONE_LETTER, without_units

TEXT = re.compile(r"\\(?:text|mbox|textbf|textit|textrm|textnormal|textsf|texttt|hbox)\s*\{([^{}]*)\}")
FONT = re.compile(r"\\(?:mathrm|mathbf|mathit|mathsf|mathcal|boldsymbol|bm|mathnormal|operatorname\*?)\s*\{([^{}]*)\}")
WORD = re.compile(r"[A-Za-z]{2,}")
MEASURED = re.compile(r"[\d})]\s*(?:[~ ]|\\[,;: ])*(?:/\s*)?$")  # what a unit of one letter stands behind
FUNCTIONS = frozenset(
    re.findall(
        r"\w+",
        "sin cos tan cot sec csc arcsin arccos arctan sinh cosh tanh arcsinh arccosh arctanh log ln lg exp max min "
        "gcd lcm",
    )
)
TOKEN = r"(?:\d|[A-Za-z]|\\(?:pi|alpha|beta|gamma|theta|lambda|mu|phi|omega|sigma)(?![A-Za-z]))"
BRACED = r"\{((?:[^{}]|\{[^{}]*\})*)\}"
FRACTION = re.compile(rf"\\frac\s*(?:{BRACED}|({TOKEN}))\s*(?:{BRACED}|({TOKEN}))")
ROOT = re.compile(rf"\\sqrt\s*(\[[^\[\]]*\])?\s*({TOKEN})")
THOUSANDS = re.compile(r"(?<![\d.])(\d{1,3})((?:,\d{3})+|(?: \d{3})+)(?![\d])")
SPACED = re.compile(r"\d, +\S")
PADDED = re.compile(r"(?<![\d.,])[1-9]\d{0,2}(?:,\d{3})*,0\d\d(?!\d)")  # no list has an item such as 005
INEQUALITY = re.compile(r"[<>]|\\(?:le|ge|ne)(?![A-Za-z])")


def clean(answer: str) -> str:
    """``answer`` in one spelling, without decoration and units, spaces collapsed; thousands separators are left."""
    return tidy(without_units(marked(answer)))


def marked(answer: str) -> str:
    """``clean``, but for the units, which are still behind their values."""
    text = answer
    for old, new in CHARACTERS:
        text = text.replace(old, new)
    text = FRACTIONS.sub(_fraction_sign, text.translate(DIGITS))
    text = RAISED.sub(lambda m: f"^{{{m[0].translate(RUNS)}}}", text)
    text = LOWERED.sub(lambda m: f"_{{{m[0].translate(RUNS)}}}", text)
    for pattern, by in FIRST:
        text = pattern.sub(by, text)
    for _ in range(3):  # commands within commands
        text = FONT.sub(_unfont, TEXT.sub(_text, text))
    for pattern, by in (*WORDS, *THEN):
        text = pattern.sub(by, text)
    if "\\begin" not in text:
        text = re.sub(r"\\\\(?:\[[^\[\]]*\])?", ", ", text)  # lines below each other
    joined = r" \\lor " if INEQUALITY.search(text) else ", "
    for pattern, by in LISTS:
        text = pattern.sub(joined if by is None else by, text)
    return tidy(_braced(plain_notation(text)))


def tidy(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip().rstrip(".,;: ").lstrip(",;: ") or text.strip()


def _fraction_sign(match: re.Match) -> str:
    top, bottom = unicodedata.normalize("NFKC", match[0]).split("⁄")
    return rf"\frac{{{top}}}{{{bottom}}}"


def _text(match: re.Match) -> str:
    """Without a letter it is a number or a sign that somebody set as text."""
    inner = re.sub(r"\\[,;! ]|~", " ", match[1])
    return f"⟦{inner}⟧" if re.search(r"[^\W\d_]", inner) else inner


def _unfont(match: re.Match) -> str:
    r"""``\mathrm{cm}`` and ``12 \mathrm{~s}`` are text, ``\mathrm{e}`` and ``\operatorname{arcsinh}`` are not."""
    inner = re.sub(r"\\[,;! ]|~", " ", match[1])
    name = inner.strip()
    if name in FUNCTIONS:
        return f"\\{name} "
    is_unit = len(name) == 1 and name in ONE_LETTER and MEASURED.search(match.string, 0, match.start())
    return f"⟦{inner}⟧" if WORD.fullmatch(name) or is_unit else inner


def _braced(text: str) -> str:
    r"""``\frac12`` -> ``\frac{1}{2}``, ``\sqrt3`` -> ``\sqrt{3}``."""
    text = ROOT.sub(lambda m: rf"\sqrt{m[1] or ''}{{{m[2]}}}", text)
    return FRACTION.sub(lambda m: rf"\frac{{{_first(m[1], m[2])}}}{{{_first(m[3], m[4])}}}", text)


def _first(braced: str | None, bare: str) -> str:
    return bare if braced is None else braced


def without_thousands(text: str) -> str:
    """``1,234,567`` and ``14 400`` as digits alone."""
    return THOUSANDS.sub(lambda m: m[0].replace(",", "").replace(" ", ""), text)


def with_grouped_thousands(a: str, g: str) -> tuple[str, str] | None:
    """Both with "1,000, 2,000" as "1000, 2000", where a comma without a space stands between digits only there."""
    grouped = [without_thousands(text) if SPACED.search(text) or PADDED.search(text) else text for text in (a, g)]
    return (grouped[0], grouped[1]) if grouped != [a, g] else None
