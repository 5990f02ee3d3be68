"""The whole of what a sentence gives as its answer: "The largest n is 34, not 33." -> 34.

Where words may change what a value means, as in "5 more than 3", the sentence is given back whole, to be compared or
found unparsable; a part of an answer is never taken for it.
"""

from __future__ import annotations

import re

from openrlhf_marge.grading.phrases import PHRASE, QUOTES, SENTENCE_END
from openrlhf_marge.grading.rewrites import SCALES
from openrlhf_marge.grading.units import ONE_LETTER, OTHER_SCRIPT, UNIT_WORDS

MAX_LINE = 2000
MATH = r"\$\$.{1,2000}?\$\$|(?<!\\)\$[^$]{1,2000}(?<!\\)\$|\\\[.{1,2000}?\\\]|\\\(.{1,2000}?\\\)"
SET_TEXT = r"\\(?:text|mbox|mathrm|mathbf|textbf|operatorname|mathbb|begin|end)\s*\{[^{}]*\}"
FUNCTION = (
    "sqrt|arc(?:sin|cos|tan)|sinh?|cosh?|tanh?|cot|sec|csc|ln|log|lg|exp|pi|theta|infinity|mod|gcd|lcm|max|min|repeating|pct"
)
SCALE = "|".join(f"{name}s?" for name in SCALES)
KNOWN = rf"(?:{FUNCTION}|{SCALE}|{UNIT_WORDS})(?![A-Za-z])"
SHORT = r"(?:is|it|in|vs|ok|oh|of|to|by|as|at|an|be|he|we|so|if|no|do|on|up|us|my|me|am|go|de|la|el|es|un|le|et|du|en|ja|di|il|ist|der|das|dem)(?![A-Za-z])"
# Letters without a vowel, or two of them, are a product: xyz, ab.
PRODUCT = rf"(?!(?i:{SHORT}))(?:[b-df-hj-np-tv-xz]{{2,4}}|[A-Za-z]{{2}}|[A-Z]{{3}})(?![A-Za-z])"
LETTERS = r"[^\W\d_]"
PROSE = re.compile(rf"(?<![\\^_\d}}])(?<!{LETTERS})(?!(?i:{KNOWN}|and\b|or\b)|{PRODUCT}){LETTERS}{{2,}}|{OTHER_SCRIPT}")
NUMBER = r"(?:\d{1,3}(?:,\d{3})+(?![\d])|\d+)(?:\.\d+)?(?:\.{3,4}|…)?|\.\d+"
ITEM = re.compile(
    rf"{MATH}|{SET_TEXT}|\\[A-Za-z]+|\\.|[＄$€£¥](?=\s*-?[\d.])|{NUMBER}|(?i:{KNOWN})|(?<=[\d}})])[A-Za-z]{{1,3}}(?![A-Za-z])|{PRODUCT}|"
    r"(?!I\b|[aA]\s+[a-z]{2})(?<!['’])[A-Za-z](?![A-Za-z'’])|[α-ωπ√∞°½⅓⅔¼¾¢²³⁰-₉…]|[-+−–*/^!=<>≤≥≠±×·÷:_%∪∩∈{}|()\[\]€\s]|,(?=\d)",
    re.DOTALL,
)
HAS_VALUE = re.compile(r"\d|[$\\π√∞½⅓⅔¼¾]")
JOINER = re.compile(rf"(?P<noun>(?:\s+(?!and\b|or\b|is\b|are\b)[A-Za-z]+){{0,3}}?)\s*(?:,\s*(?:and\s+|or\s+)?|(?<=\s)(?:and|or|&)\s+|、)(?=\S)")
NOUN = re.compile(r"\s+((?!(?:and|or|is|are|in|for|of|to|at|on|per|by)\b)[A-Za-z]+(?:\s[a-z]+)?)(?=\s*(?:[.,;!]|$))")
# Words that start another thought: what follows them says nothing about the value.
BREAK = re.compile(
    r"\b(?:because|since|as|so|which|where|when|if|given|not|instead|rather|assuming|after|before|but|while|using|from|that|"
    r"thus|hence|therefore|according|i\.e|e\.g|once|than)\b|[(;:!?]|\.(?:\s|$)|[—–]\s|,\s+(?!(?:and|or)\b)(?=[A-Za-z])|=>|⇒",
    re.IGNORECASE,
)
# Words that make another value of the one before them.
CHANGES = re.compile(
    r"\s*(?:(?:times|over|plus|minus|to|choose|mod|modulo)\s+(?:the\s+)?[\d$\\({a-z]\b|(?:divided|multiplied|raised|squared|cubed|factorial)\b|"
    r"(?:more|less|fewer|greater|larger|smaller|higher|lower)\s+than\b|(?:percent\s+)?(?:more|less)\b|th\b|"
    r"(?:m(?:ill?|il)(?:i?on|iard|jon|jard|iar)|bi?ll|tri?ll|juta|ribu|tausend|mille?|млн|млрд|тыс|милли)\w*|out\s+of\b|or\s+(?:more|less)\b)",
    re.IGNORECASE,
)
BEFORE = re.compile(
    r"(?:(?:at\s+(?:least|most)|(?:more|less|fewer|greater|larger|smaller|higher|lower|rather|other)\s+than|up\s+to|over|under|above|below|"
    r"between|except|not|minus|plus|half|twice|double|triple|n't|never|no)(?:\s+(?:of|the|a))?)\s*$|"
    r"^\s*(?!(?:so|therefore|thus|hence|then|finally|well|clearly|now)\b)[A-Za-z]+\s*,\s*$",  # "diverges, 0" is a list
    re.IGNORECASE,
)
VERB = re.compile(
    r"\b(?:is|are|was|were|be|equals?|equal\s+to|becomes|gives|get|has|have|makes|totals?|costs?|=)(?:\s+(?:that|exactly|only|just|"
    r"about|approximately|roughly|simply|equal\s+to|given\s+by|also|then|now|therefore|thus))*\s+|(?<=[a-z\]) ])\s*[=:]\s*",
    re.IGNORECASE,
)
JOINED_VALUE = re.compile(r"\b(?:and|or)\b[^.;]*?(?:\d|\$|\\[A-Za-z])")
UNIT_LETTER = re.compile(rf"([$]?\s*-?(?:{NUMBER})\$?)\s+([{ONE_LETTER}])\s*(?:\^\s*\{{?([23])\}}?)?")


def read_statement(line: str, last: bool = False) -> str:
    """What a line gives as its answer; the line itself when that cannot be told from its words.

    ``last``: the line has no label, so where several values stand side by side the last one is meant.
    """
    line = SENTENCE_END.split(line[:MAX_LINE], maxsplit=1)[0].strip(QUOTES) if not last else line[-MAX_LINE:].strip(QUOTES)
    line = re.sub(r"^['‘]+(.*?)['’]+$", r"\1", re.sub(r"^that\s+", "", line))
    if not PROSE.search(re.sub(rf"{MATH}|{SET_TEXT}|\\[A-Za-z]+", " ", line, flags=re.DOTALL)):
        return with_unit(line)
    if (found := _leading(line)) and _is_over(line[found[1] :]):
        return found[0]
    words = re.sub(f"{MATH}|{SET_TEXT}", lambda m: "$" * len(m[0]), line, flags=re.DOTALL)
    for verb in reversed(list(VERB.finditer(words))):
        found = _leading(line, verb.end())
        if found and _is_over(line[found[1] :]):
            return found[0]
    values = list(_values(line))
    if values and (last or len(values) == 1):
        text, start, end = values[-1]
        if _is_over(line[end:]) and not BEFORE.search(line[:start]):
            return text
    return line


def stated_in_text(answer: str) -> str:
    r"""The value of an answer that is a sentence set as text: ``\text{The answer is 460}``, ``\text{There are 12 ways}``."""
    match = re.fullmatch(r"\s*\\(?:text|mbox|textbf|textrm)\s*\{([^{}]*)\}\s*\.?(.*)", answer, re.DOTALL)
    text = f"{match[1]} {match[2]}".strip() if match else answer
    if phrases := list(PHRASE.finditer(text)):
        return read_statement(text[phrases[-1].end() :]) or answer
    if match is None or match[2].strip() or not re.search(r"\d", text) or len(text.split()) < 3:
        return answer
    found = read_statement(text)
    return answer if found == text.strip(QUOTES) else found


def with_unit(line: str) -> str:
    match = UNIT_LETTER.fullmatch(line.strip().rstrip("."))
    return rf"{match[1]} \text{{ {match[2]}{'^' + match[3] if match[3] else ''} }}" if match else line


def _leading(line: str, start: int = 0) -> tuple[str, int] | None:
    """The value, or values with their nouns, at ``start`` and where they end."""
    end = _value_end(line, start)
    if end is None:
        return None
    parts, nouns = [line[start:end].strip()], []
    while joiner := JOINER.match(line, end):
        following = _value_end(line, joiner.end())
        if following is None or BREAK.search(joiner["noun"]):
            break
        nouns.append(joiner["noun"].strip())
        parts.append(line[joiner.end() : following].strip())
        end = following
    if any(nouns):
        if noun := NOUN.match(line, end):
            nouns.append(noun[1])
            end = noun.end()
        nouns += [""] * (len(parts) - len(nouns))
        parts = [rf"{part} \text{{ {noun} }}" if noun else part for part, noun in zip(parts, nouns, strict=True)]
    return ", ".join(map(with_unit, parts)), end


def _value_end(line: str, start: int) -> int | None:
    """Where the mathematics that starts there ends; None when it has no value in it."""
    position, depth, end = start, 0, start
    while item := ITEM.match(line, position):
        text = item[0]
        if text in "([" and re.match(r"\s*(?:[^\W\d_]{3,}|=)", line[item.end() :]):
            break  # a remark
        depth += (text in ("(", "[", "\\{")) - (text in (")", "]", "\\}"))
        if depth < 0:
            break
        position = item.end()
        if not text.isspace():
            end = position
        if depth and (comma := re.compile(r"[,;]").match(line, position)):
            position = comma.end()
    end -= len(line[start:end]) - len(line[start:end].rstrip(" :-–="))
    return end if end > start and HAS_VALUE.search(line, start, end) else None


def _values(line: str):
    """(text, start, end) of every value in a line; names such as $n$ only where there is nothing else."""
    found, position = [], 0
    while position < len(line):
        if position and (line[position - 1].isalnum() or line[position - 1] in "\\_^"):
            position += 1
            continue
        leading = _leading(line, position)
        if leading:
            found.append((leading[0], position, leading[1]))
            position = leading[1]
        position += 1
    return [f for f in found if not re.fullmatch(r"\$?\\?[A-Za-z]+\$?", f[0])] or found


def _is_over(rest: str) -> bool:
    """Whether what follows a value leaves it as it is: the end, a unit, other words."""
    if CHANGES.match(rest):
        return False
    clause = BREAK.split(rest, maxsplit=1)[0] if not re.match(r"\s*[.,;:!?]\s*$", rest) else ""
    if JOINED_VALUE.search(clause) or VERB.search(clause) and HAS_VALUE.search(VERB.split(clause, maxsplit=1)[1]):
        return False
    return not rest or not (rest[0].isascii() and rest[0].isalnum())
