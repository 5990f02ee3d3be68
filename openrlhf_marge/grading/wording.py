"""Lists the words of a sentence that belong to mathematics, and those that change, join or end a value."""

from __future__ import annotations

import re

from openrlhf_marge.grading.rewrites import SCALES
from openrlhf_marge.grading.units import ONE_LETTER, OTHER_SCRIPT, UNIT_WORDS

MATH = r"\$\$.{1,2000}?\$\$|(?<!\\)\$[^$]{1,2000}(?<!\\)\$|\\\[.{1,2000}?\\\]|\\\(.{1,2000}?\\\)"
SET_TEXT = r"\\(?:text|mbox|mathrm|mathbf|textbf|operatorname|mathbb|begin|end)\s*\{[^{}]*\}"
FUNCTION = (
    "sqrt|arc(?:sin|cos|tan)|sinh?|cosh?|tanh?|cot|sec|csc|ln|log|lg|exp|pi|theta|infinity|mod|gcd|lcm|max|min|"
    "repeating|pct"
)
SCALE = "|".join(f"{name}s?" for name in SCALES)
KNOWN = rf"(?:{FUNCTION}|{SCALE}|{UNIT_WORDS})(?![A-Za-z])"
SHORT = (
    r"(?:is|it|in|vs|ok|oh|of|to|by|as|at|an|be|he|we|so|if|no|do|on|up|us|my|me|am|go|de|la|el|es|un|le|et|du|en|ja|di|"
    r"il|ist|der|das|dem)(?![A-Za-z])"
)
# Letters without a vowel, or two of them, are a product: xyz, ab.
PRODUCT = rf"(?!(?i:{SHORT}))(?:[b-df-hj-np-tv-xz]{{2,4}}|[A-Za-z]{{2}}|[A-Z]{{3}})(?![A-Za-z])"
LETTERS = r"[^\W\d_]"
PROSE = re.compile(
    rf"(?<![\\^_\d}}])(?<!{LETTERS})(?!(?i:{KNOWN}|and\b|or\b)|{PRODUCT}){LETTERS}{{2,}}|{OTHER_SCRIPT}"
)
NUMBER = r"(?:\d{1,3}(?:,\d{3})+(?![\d])|\d+)(?:\.\d+)?(?:\.{3,4}|…)?|\.\d+"
ITEM = re.compile(
    rf"{MATH}|{SET_TEXT}|\\[A-Za-z]+|\\.|[＄$€£¥](?=\s*-?[\d.])|{NUMBER}|(?i:{KNOWN})|"
    rf"(?<=[\d}})])[A-Za-z]{{1,3}}(?![A-Za-z])|{PRODUCT}|"
    r"(?!I\b|[aA]\s+[a-z]{2})(?<!['’])[A-Za-z](?![A-Za-z'’])|[α-ωπ√∞°½⅓⅔¼¾¢²³⁰-₉…]|"
    r"[-+−–*/^!=<>≤≥≠±×·÷:_%∪∩∈{}|()\[\]€\s]|,(?=\d)",
    re.DOTALL,
)
HAS_VALUE = re.compile(r"\d|[$\\π√∞½⅓⅔¼¾]")
JOINER = re.compile(
    r"(?P<noun>(?:\s+(?!and\b|or\b|is\b|are\b)[A-Za-z]+){0,3}?)\s*"
    r"(?:,\s*(?:and\s+|or\s+)?|(?<=\s)(?:and|or|&)\s+|、)(?=\S)"
)
NOUN = re.compile(r"\s+((?!(?:and|or|is|are|in|for|of|to|at|on|per|by)\b)[A-Za-z]+(?:\s[a-z]+)?)(?=\s*(?:[.,;!]|$))")
# Words that start another thought: what follows them says nothing about the value.
BREAK = re.compile(
    r"\b(?:because|since|as|so|which|where|when|if|given|not|instead|rather|assuming|after|before|but|while|using|from|that|"
    r"thus|hence|therefore|according|i\.e|e\.g|once|than)\b|[(;:!?]|\.(?:\s|$)|[—–]\s|,\s+(?!(?:and|or)\b)(?=[A-Za-z])|=>|⇒",
    re.IGNORECASE,
)
# What follows an answer in words.
REASON = re.compile(r"[,;]\s+(?:not|because|since|as|rather|instead)\b|\s+(?:because|since)\b", re.IGNORECASE)
# Words that make another value of the one before them.
CHANGES = re.compile(
    r"\s*(?:(?:times|over|plus|minus|to|choose|mod|modulo)\s+(?:the\s+)?(?:[\d$\\({]|[a-z]\b)|"
    r"(?:divided|multiplied|raised|squared|cubed|factorial)\b|"
    r"(?:more|less|fewer|greater|larger|smaller|higher|lower)\s+than\b|(?:percent\s+)?(?:more|less)\b|th\b|"
    r"(?:m(?:ill?|il)(?:i?on|iard|jon|jard|iar)|bi?ll|tri?ll|juta|ribu|tausend|mille?|млн|млрд|тыс|милли)\w*|"
    r"out\s+of\b|or\s+(?:more|less)\b|and\s+(?:a\s+)?half\b|to\s+the\s+power\b)",
    re.IGNORECASE,
)
BEFORE = re.compile(
    r"(?:(?:at\s+(?:least|most)|(?:more|less|fewer|greater|larger|smaller|higher|lower|rather|other)\s+than|"
    r"up\s+to|over|under|above|below|"
    r"(?:root|square|cube|reciprocal|opposite|inverse|negative|third|quarter|fourth|fifth)\s+of|anything\s+but|"
    r"between|except|not|minus|plus|negative|half|twice|thrice|double|triple|n't|never|no)(?:\s+(?:of|the|a))?)\s*$|"
    r"^\s*(?!(?:so|therefore|thus|hence|then|finally|well|clearly|now)\b)[A-Za-z]+\s*,\s*$",  # "diverges, 0" is a list
    re.IGNORECASE,
)
VERB = re.compile(
    r"\b(?:is|are|was|were|be|equals?|equal\s+to|becomes|gives|get|has|have|makes|totals?|costs?|=)"
    r"(?:\s+(?:that|exactly|only|just|about|approximately|roughly|simply|equal\s+to|given\s+by|also|then|now|therefore|"
    r"thus))*\s+|(?<=[a-z\]) ])\s*[=:]\s*",
    re.IGNORECASE,
)
JOINED_VALUE = re.compile(r"\b(?:and|or)\b[^.;]*?(?:\d|\$|\\[A-Za-z])")
UNIT_LETTER = re.compile(rf"([$]?\s*-?(?:{NUMBER})\$?)\s+([{ONE_LETTER}])\s*(?:\^\s*\{{?([23])\}}?)?")
