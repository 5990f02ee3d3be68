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
    (r"(?<=\d)\s*([ckd]?m)\^\{([23])\}(?=\s*(?:$|[.,;)]))", r" \\text{ \1^\2 }"),  # a Unicode square or cube
    (r"(?i)^(\s*\d?\d:\d\d)\s*([ap])\.?\s?m\.?\s*$", r"\1 \\text{ \2m}"),
    (r"^([^$]*)(?<!\\)\$(\s*-?[\d.][^$]*)$", r"\1＄\2"),  # a lone dollar sign, and an escaped one, is money
    (r"\\text\s*\{\s*\\?\$\s*\}|\\\$", "＄"),
    (r"(?<!\d)0\s*\{\s*,\s*\}\s*(?=\d)", "0."),
    (r"(?<=\d)\s*(?:\{\s*,\s*\}|,\s*\\!)\s*(?=\d{3}(?!\d))", ""),  # thousands, as no list is written
    (r"(?<=\d)\s*\{\s*,\s*\}\s*(?=\d)", "."),  # a decimal comma, in LaTeX
    (r"(\d*\.\d+)\s*(?:\.{3,4}|\\[lc]?dots(?![A-Za-z]))", r"\1\\ldots "),
    (r"(?<=\d)\s*百万", r" \\text{ million}"),
    (r"(?<=\d)\s*[万萬]", r" \\cdot 10^{4} "),
    (r"(?<=\d)\s*[亿億]", r" \\cdot 10^{8} "),
    (r"\\not\s*\\in(?![A-Za-z])", r"\\notin "),
    (rf"{DEGREE}\s*\\(?:mathrm|text)\s*\{{\s*[CF]\s*\}}", ""),
    (r"\\(?:text)?color\s*\{[^{}]*\}", ""),
    (rf"(?<=sin|cos|tan|cot|sec|csc)\s*\(?\s*(\d+(?:\.\d+)?)\s*{DEGREE}\s*\)?", _radians),
    (r"\{\s*([^{}]+?)\s*\\choose\s*([^{}]+?)\s*\}|^(\w+)\s*\\choose\s*(\w+)$", lambda m: _pair("binom", m)),
    (r"\{\s*([^{}]+?)\s*\\over\s*([^{}]+?)\s*\}|^(\w+)\s*\\over\s*(\w+)$", lambda m: _pair("frac", m)),
    (r"\\begin\{cases\}(.*?)\\end\{cases\}", lambda m: m[1].replace(r"\\", ",").replace("&", " ")),
    (r"^\s*(?:USD|EUR|RMB|Rs\.?)\s*(?=\d)", ""),
    (r"\\(?:land|wedge)(?![A-Za-z])(?=.*[=<>])", ","),
    (r"\\(?:lor|vee)(?![A-Za-z])(?=.*[=<>])", " or "),
)


def _pair(command: str, match: re.Match) -> str:
    first, second = match[1] or match[3], match[2] or match[4]
    return rf"\{command}{{{first}}}{{{second}}}"


SCALES = {"dozen": "12", "hundred": "10^{2}", "thousand": "10^{3}"} | {
    name: f"10^{{{3 * i + 6}}}" for i, name in enumerate(("million", "billion", "trillion"))
}
SCALE = rf"({'|'.join(SCALES)})s?(?![A-Za-z])"


def _scale(match: re.Match) -> str:
    r"""``3.8 billion dollars`` as ``3.8 \cdot 10^{9}`` and its unit."""
    rest = match[2] if match.lastindex > 1 else ""
    return rf" \cdot {SCALES[match[1].lower()]} " + (f"⟦{rest}⟧" if rest.strip() else "")


NO_SOLUTION = (
    r"(?:there\s+(?:is|are|exists?)\s+)?(?:no|not\s+any)\s+(?:(?:real|integer|such|possible|valid)\s+)*"
    r"(?:solutions?|roots?)(?:\s+exists?)?|(?:the\s+)?(?:empty|null)\s+set|(?:it\s+)?has\s+no\s+solutions?"
)
# Of text that has become marked.
WORDS = compiled(
    (r"\$", ""),
    (r"⟧\s*(/|\\cdot|·)\s*⟦", r"\1"),  # m/s
    (rf"(?i)(?<=[\d}})])\s*⟦\s*{SCALE}\s*([^⟦⟧]*)⟧", _scale),
    (rf"(?i)(?<=[\d}})])\s*{SCALE}", _scale),
    (r"(?i)(?:[,;]\s*)?⟦\s*,?\s*(?:for|where)\s+(?:all|every|any|each|some)\b[^⟦⟧]*⟧[^⟦⟧]*$", ""),
    (r"(?i)\s*⟦\s*to\s*⟧\s*|(?<=\d)\s+to\s+(?=\d)", ":"),
    (r"_\s*\{?\s*⟦\s*base\s*(\d*)\s*⟧\s*(\d*)\s*\}?", r"_{\1\2}"),
)
# Words between the items of a list; None stands for what "or" is between inequalities.
LISTS = compiled(
    (r"(?i)⟦\s*([^⟦⟧]*[^\s⟦⟧,]),?\s+(and|or)\s*⟧", r"⟦\1⟧ \2 "),
    (r"(?i)\s*⟦\s*(?:,\s*)?or\s*⟧|(?<![A-Za-z\\])or(?![A-Za-z])", None),
    (r"(?i)\s*⟦\s*(?:,\s*)?and\s*⟧|\s*(?<![A-Za-z\\])and(?![A-Za-z])", ", "),
    (r"[,;]\s*(?=\\lor(?![A-Za-z]))", " "),
)
THEN = compiled(
    (rf"(?i)^\s*⟦?\s*(?:{NO_SOLUTION})\s*\.?\s*⟧?\s*\.?\s*$", r"\\emptyset "),
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
        r"\\mathbb\{R\}|\\mathbb R|\\(?:R|reals|Reals)(?![A-Za-z])|"
        r"⟦\s*all real(?: number)?s\s*⟧|^\s*all real(?: number)?s\s*$",
        r"(-\\infty ,\\infty )",
    ),
    (
        r"(?i)⟦?\s*all\s+real(?:\s+numbers|s)?,?\s+(?:except|other than|but)(?:\s+for)?\s*⟧?\s*"
        r"(?:[a-z]\s*=\s*)?([^⟦⟧]+?)\s*⟧?$",
        r"(-\\infty ,\\infty )\\setminus \\{\1\\}",
    ),
    (r"\\(?:setminus|backslash)(?![A-Za-z])|(?<=\\infty \))\s*(?:-|\\(?=\s|\\\{))\s*(?=\\\{)", r"\\setminus "),
    (r"\\imath(?![A-Za-z])", "i"),
    (r"(?<![A-Za-z}\]^_])\{\s*([A-Za-z])\s*\}(?=\s*[_^])", r"\1"),
    (r"\(\s*([0-9A-F]+)\s*\)(?=\s*_)|(?<=_)\{\s*\((\d+)\)\s*\}", lambda m: m[1] or f"{{{m[2]}}}"),
    (r"\\colon(?![A-Za-z])", ":"),
    (r"\\(?:langle|lparen)(?![A-Za-z])", "("),
    (r"\\(?:rangle|rparen)(?![A-Za-z])", ")"),
    (r"\\lbrace(?![A-Za-z])", r"\\{"),
    (r"\\rbrace(?![A-Za-z])", r"\\}"),
    (r"\\(?:lvert|rvert|vert|mid)(?![A-Za-z])", "|"),
    (r"\\infin(?![A-Za-z])", r"\\infty "),
    (r"^\\\{\s*([a-z])\s*(?:\\in\s*\(-\\infty ,\\infty \)\s*)?[|:]\s*(.*\1.*)\\\}$", r"\2"),
    (r"\+\s*\\infty", r"\\infty "),
    (rf"{DEGREE}(?!\s*\d)", ""),  # 12 degrees 30 minutes are no 1230
    (r"\\(?:overline|widebar)(?![A-Za-z])", r"\\bar"),
    (r"\\(?:to|rightarrow|Rightarrow|implies)(?![A-Za-z])", r"\\to "),
    (r"\\(?:ast|star)(?![A-Za-z])|\*\*", lambda m: "^" if m[0] == "**" else "*"),
    (r"\\(?:approx|simeq|thickapprox|equiv)(?![A-Za-z])", "="),
    (r"^\s*=(?=\s*[^\s=])", ""),
    (r"\\(?:cdotp?|times)(?![A-Za-z])|\*", r"\\cdot "),
    (r"\\%|%|\s+percent\b|\s+pct\b", "%"),
    (r"\+\s*c$", "+C"),  # the constant of integration
    (r"(?<=\S)(?:[,;]|(?=\s*⟦))\s*(?:⟦[^⟦⟧]*⟧\s*)?[a-z]\s*\\in\s*\\mathbb\s*\{?[ZNQ]\}?(?:\^\{?[+*]\}?)?$", ""),
)
