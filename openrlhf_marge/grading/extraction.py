r"""response -> the text of its final answer.

In order: the last ``\boxed{}`` (or a run of them, joined by "and" and commas), the line after the last "####", what
follows the last "answer is" or "Answer:", the last number or formula of the last line.
"""

from __future__ import annotations

import re

MAX_CHARS = 400_000  # of the end of a response; an answer further from the end is none
MAX_BOXES = 20  # looked at from the end
THINK_END = "</think>"
SPECIAL = re.compile(r"<\|[^|<>\n]{1,40}\|>|</?s>|<end_of_turn>|<eos>")  # special tokens that end a decoded response
NEXT_TURN = re.compile(r"<\|im_start\|>\s*user")
BOX = re.compile(r"\\(?:boxed|fbox)\s*(\{|[^\s{}$\\]+)")
# What may stand between boxes that belong to one answer.
JOINT = re.compile(
    r"(?:\s|[$,;&.]|\\[()\[\],;!]|\\\\|\\q?quad|\\text\{\s*(?:and|or)\s*\}|\b(?:and|or)\b|[a-zA-Z](?:_\{?\w{1,3}\}?)?\s*=)*"
)
HASHES = re.compile(r"####[ \t]*([^\n]+)")
PHRASE = re.compile(
    r"(?:final\s+answer|correct\s+answer|answer|答案)\**\s*(?:is|是|为|:|：|=|\n|(?=\$|\\\[|\\\())[ \t:：*]*",
    re.IGNORECASE,
)
HOPE = re.compile(r"\.?\s*I hope (?:it|this) is correct.*", re.IGNORECASE | re.DOTALL)
MATH = r"\$\$.{1,2000}?\$\$|\$[^$]{1,2000}\$|\\\[.{1,2000}?\\\]|\\\(.{1,2000}?\\\)"
NUMBER = r"[-−]?[$€£]?(?:\d+ \d+/\d+|\d+(?:,\d{3})*(?:\.\d+)?(?:/\d+)?)"
LAST_VALUE = re.compile(rf"{MATH}|(?<![\w.^]){NUMBER}\s*(?:\\?%|percent\b|pct\b)?", re.DOTALL)
AFTER_VALUES = r"\s*(?:$|[,;:!?]|\.(?:\s|$)|\\?%)|\s+(?:\(|[A-Za-z]{2})"
VALUE = f"(?:{NUMBER}|{MATH})"
VALUES = re.compile(rf"{VALUE}(?:\s*(?:,\s*and|,|and|or)\s*{VALUE})*(?={AFTER_VALUES})", re.DOTALL)
SENTENCE_END = re.compile(r"""(?<=[\w})$*`"])[.。](?:\s|$)""")
HEDGE = re.compile(r"\s*\)?\s*(?:,\s*)?(?:,|/|or|and)\s*\(?[A-J](?![A-Za-z])")
CHOICE = re.compile(r"(?<![A-Za-z'\\])(?<!not )\(?([A-J])\)?(?![A-Za-z'])")
WORD = re.compile(r"(?<!\\)\b(?!(?:repeating|and|or|pi|sqrt)\b)[A-Za-z]{2,}\b(?![({])")


def final_answer(response: str, wants_choice: bool = False) -> str | None:
    """The answer as it stands in the response; None when there is none.

    ``wants_choice``: the gold answer is a letter, so a sentence such as "it is D, not A" is read for one.
    """
    text = response[-MAX_CHARS:]
    if THINK_END in text:
        text = text.rsplit(THINK_END, 1)[1]
    if (turn := NEXT_TURN.search(text)) and text[: turn.start()].strip():
        text = text[: turn.start()]
    text = SPECIAL.sub("", text)
    if (answer := boxed(text)) or is_cut_off(text):
        return answer
    return after_hashes(text) or after_phrase(text, wants_choice) or last_value(text)


def boxed(text: str) -> str | None:
    """The content of the last box that is closed and not empty, with those right before it that belong to it."""
    found = []  # (start, end, content) from the last one backwards
    starts = [m.start() for m in BOX.finditer(text)][-MAX_BOXES:]
    for start in reversed(starts):
        box = _box_at(text, start)
        if box is None or not box[1].strip() or (found and box[0] > found[-1][0]):  # open, empty, or around the last
            continue
        if found and not JOINT.fullmatch(text, box[0], found[-1][0]):
            break
        found.append((start, *box))
    contents = list(dict.fromkeys(content.strip() for _, _, content in reversed(found)))
    return ", ".join(contents) or None


def is_cut_off(text: str) -> bool:
    """Whether the last box never closes: such a response has not answered, whatever it says before."""
    starts = [m.start() for m in BOX.finditer(text)]
    return bool(starts) and _box_at(text, starts[-1]) is None


def _box_at(text: str, start: int) -> tuple[int, str] | None:
    """(where it ends, content) of the box at ``start``; None when its brace never closes."""
    match = BOX.match(text, start)
    if match[1] != "{":
        return match.end(), match[1].rstrip(".,;")
    content = balanced(text, match.end())
    return None if content is None else (match.end() + len(content) + 1, content)


def balanced(text: str, start: int) -> str | None:
    """``text`` from ``start`` up to the brace that closes the one before ``start``; None when it never closes."""
    depth, i = 1, start
    while i < len(text):
        if text[i] == "\\":
            i += 1  # an escaped brace is none
        elif text[i] in "{}":
            depth += 1 if text[i] == "{" else -1
            if not depth:
                return text[start:i]
        i += 1
    return None


def after_hashes(text: str) -> str | None:
    """GSM8K's form: the rest of the line after the last "####"."""
    found = HASHES.findall(text)
    if not found or not any(c.isalnum() for c in found[-1]):
        return None
    return _leading_values(found[-1]) or found[-1].strip()


def after_phrase(text: str, wants_choice: bool) -> str | None:
    """What the last "answer is" says: a formula, a bare expression, or the last value of its sentence."""
    start = max((m.end() for m in PHRASE.finditer(text)), default=None)
    if start is None:
        return None
    rest = HOPE.sub("", text[start : start + 4000]).replace("\\$", "").strip()
    if wants_choice and (choice := CHOICE.search(rest)):
        return None if HEDGE.match(rest, choice.end()) else choice[1]
    if not rest:
        return None
    line = rest.split("\n", 1)[0] if not re.match(r"\$\$|\\\[", rest) else rest
    line = SENTENCE_END.split(line, maxsplit=1)[0].strip(' *_`"“”')
    if values := _leading_values(line):
        return values
    if WORD.search(re.sub(MATH, "", line, flags=re.DOTALL)) and (value := _last_match(line)):
        return value
    formula = re.match(MATH, line, re.DOTALL)
    return (formula[0] if formula else line) or None


def _leading_values(line: str) -> str | None:
    """The value, or list of values, that a line begins with before it goes on in words."""
    values = VALUES.match(line)
    if values is None:
        return None
    return values[0] + (" percent" if re.match(r"\s*(?:\\?%|percent|pct)", line[values.end() :]) else "")


def last_value(text: str) -> str | None:
    """The last number or formula in the last line that holds any text."""
    lines = text.strip().rsplit("\n", 1)
    return _last_match(lines[-1][-2000:])


def _last_match(text: str) -> str | None:
    found = None
    for found in LAST_VALUE.finditer(text):  # noqa: B007 - the last one is wanted
        pass
    return found[0].strip() if found else None
