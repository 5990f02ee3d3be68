"""Letters chosen among several: in a gold answer, in an answer, and in a sentence that rules others out."""

from __future__ import annotations

import re

from openrlhf_marge.grading.spelling import bare

MAX_SENTENCE = 1000
ONE = r"(?<![A-Za-z'\\])(?:\(([A-J])\)|([A-J])(?![A-Za-z']))"
LIST = rf"{ONE}(?:\s*(?:,(?:\s*(?:and|or|nor)\b)?|/|&|\b(?:and|or|nor)\b)\s*{ONE})*".replace("([A-J])", "[A-J]")
KIND = r"(?:(?:choices?|options?|answers?|both|either|neither|the|answer|statements?)\s+)*"
OUT_BEFORE = re.compile(
    rf"\b(?:rul(?:es?|ed|ing)\s+out|eliminat\w+|exclud\w+|reject\w*|discard\w*|(?:can|could)(?:\s?not|n't|n’t)\s+be|not|isn't|"
    rf"isn’t|neither|rather\s+than|instead\s+of)\s+{KIND}{LIST}",
    re.IGNORECASE,
)
OUT_AFTER = re.compile(
    rf"{KIND}{LIST}\s+(?:(?:is|are|was|were|be|seems?|can)\s+)?(?:(?:all|both|clearly|also|thus|be)\s+)*"
    r"(?:wrong|incorrect|false|(?:ruled\s+)?out\b|eliminated|excluded|impossible|not\b|cannot|fails?)"
)
LEFT = re.compile(
    rf"\b(?:leav(?:es|ing)|remaining|left\s+with)\s+(?:(?:us|only|just|with|is)\s+)*{KIND}(?:is\s+)?(?P<after>{LIST})"
    rf"|\bonly\s+{KIND}(?P<only>{LIST})\s+(?:remains?|is\s+left|is\s+(?:correct|right|possible)|fits|works)"
    rf"|(?P<before>{LIST})\s+(?:remains?|is\s+left|is\s+the\s+only\s+\w+\s+left)\b"
)
OR = re.compile(r"\b(?:or|nor)\b|/")
PRONOUN = re.compile(r"\bI(?=\s+(?:[a-z]|'))")
CHOICE = re.compile(r"\(?\s*([A-J])\s*\)?")
SEVERAL = re.compile(r"(?:[A-J]|\([A-J]\))(?:\s*[,;&]\s*(?:[A-J]|\([A-J]\)))+")
JOINED = re.compile("A?B?C?D?E?F?G?H?I?J?")
# The letter alone, or set apart from what follows it, as in "(D) 24"; no second letter.
CHOICE_FIRST = re.compile(
    r"⟦?\s*(?:(?:option|choice|answer)\s+)?⟦?(?:([A-J])\s*⟧?\s*|\(⟦?([A-J])⟧?\)⟧?.*|([A-J])⟧?[.:)](?!\d).*)",
    re.DOTALL | re.IGNORECASE,
)
OTHER_LETTER = re.compile(r"(?<![A-Za-z])[A-J](?![A-Za-z])")
LABELLED = re.compile(
    r"(?:⟦\s*\(?\s*([A-J])\s*(?:\)|[.:]|(?=⟧))\s*⟧?|\(\s*⟦?([A-J])⟧?\s*\)(?=\s+[^(\s])|([A-J])\s*(?:\)|[.:](?!\d)))\s*(.*)",
    re.DOTALL,
)


def chosen(gold: str) -> str | None:
    """The letter, or letters in their order, of a cleaned gold answer that is a choice among several."""
    text = bare(gold)
    if SEVERAL.fullmatch(text):
        return letters(text)
    match = CHOICE.fullmatch(text)
    letter = match[1] if match else letter_of(gold) if "⟦" in gold or label_and_value(gold) else None
    return letter if letter and letter.isupper() else None


def letter_of(text: str) -> str | None:
    """The one letter that a cleaned answer gives."""
    match = CHOICE_FIRST.fullmatch(text)
    return match[match.lastindex].upper() if match and len(OTHER_LETTER.findall(text)) < 2 else None


def letters(text: str) -> str | None:
    """ "A, D, B" and "ABD" as "ABD"; None for one letter and for anything else."""
    plain = bare(text)
    if len(plain) > 1 and JOINED.fullmatch(plain):
        return plain
    return "".join(sorted(set(re.findall("[A-J]", plain)))) if SEVERAL.fullmatch(plain) else None


def label_and_value(text: str) -> tuple[str, str] | None:
    """The letter of a choice and the value that it labels: "(B) 48", "C. 12"."""
    match = LABELLED.fullmatch(text.strip())
    value = match[4].strip(" ⟧:.") if match else ""
    return (match[1] or match[2] or match[3], value) if value and "⟦" not in value else None


def left_over(text: str) -> re.Match | None:
    """The last place, near its end, where a text says which letter is left."""
    return max(LEFT.finditer(text, max(0, len(text) - MAX_SENTENCE)), key=lambda m: m.end(), default=None)


def picked(text: str) -> str | None:
    """The letter, or letters with commas between them, that a sentence settles on; None for an "A or B"."""
    text = text[:MAX_SENTENCE]
    if (joined := re.match(r"\W*([A-J]{2,10})\b(?!')", text)) and JOINED.fullmatch(joined[1]):
        group = ",".join(joined[1])
    elif found := left_over(text):
        group = found["after"] or found["only"] or found["before"]
    else:
        kept = OUT_AFTER.sub(" ", OUT_BEFORE.sub(" ", PRONOUN.sub(" ", text)))
        first = re.search(LIST, kept)
        group = first[0] if first else ""
    if not group or OR.search(group):
        return None
    return ", ".join(re.findall("[A-J]", group))
