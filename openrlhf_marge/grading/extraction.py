r"""response -> the text of its final answer.

In order: the last ``\boxed{}`` (or a run of them, joined by "and" and commas) unless an answer is stated after it, the
line after the last "####", what follows the last "answer is", the value that the last line ends in. Under MARGE the
response is the guidance prefix and the completion: a box in the prefix answers for a completion that states none, and
for no other.
"""

from __future__ import annotations

import re

from openrlhf_marge.grading.boxes import BOX, ECHO, is_cut_off, last_box
from openrlhf_marge.grading.choices import MAX_SENTENCE, left_over, picked
from openrlhf_marge.grading.phrases import LABEL, PHRASE, TAGS, after_hashes, after_phrase, own_text
from openrlhf_marge.grading.statements import read_statement
from openrlhf_marge.grading.wording import HAS_VALUE

MAX_CHARS = 400_000  # of the end of a response; an answer further from the end is none
MAX_LINE = 20_000
MAX_PHRASES = 20
NEAR_LETTER = re.compile(r"[^.\n]{0,300}\n?[^.\n]{0,300}[A-J]")
# After a box: a line "Answer: ...", or a bare value with its unit. "The answer is consistent with it" states none.
BARE = r"(?:\$[^$\n]{1,200}\$|\\\([^\n]{1,200}?\\\)|\\?[$€£]?[-−]?\d[\d,./]*%?|\(?(?-i:[A-J])\)?)"
END = r"(?:[.,;!](?!\d)|\s*$|\n|\s(?:because|since|not)\b)"
STATED = re.compile(
    rf"{LABEL.pattern}|####|<(?:final_)?answer>|"
    rf"(?:{PHRASE.pattern})\s{{0,9}}{BARE}[*_]{{0,9}}(?:\s[^\W\d_]+[*_]{{0,9}})?{END}",
    re.IGNORECASE,
)
SENTENCE = re.compile(r"(?<=[\w)$*`\"%}][.!?。])\s+|(?<=[.!?。]\$)\s+|(?<=[.!?。]\$\$)\s+")


def final_answer(response: str, wants_choice: bool = False) -> str | None:
    """The answer as it stands in the response; None when there is none.

    ``wants_choice``: the gold answer is a letter, so a sentence such as "it is D, not A" is read for one.
    """
    text = own_text(response[-MAX_CHARS:])
    box = last_box(text)
    if box is None:
        if is_cut_off(text):
            return None
        return labelled(text, wants_choice) or last_value(text)
    after = text[box.end :]
    if STATED.search(after):
        said = labelled(after, wants_choice)
        if said and (wants_choice or HAS_VALUE.search(said)):
            return said
    if box.content:
        return box.content
    # An empty box takes back the boxes before it; what is said outside of them may still answer.
    outside = BOX.split(text[: box.start])[-1] if BOX.search(text[: box.start]) else text[: box.start]
    return labelled(after, wants_choice) or last_value(after) or labelled(outside, wants_choice)


def labelled(text: str, wants_choice: bool) -> str | None:
    """What stands in answer tags, behind "####" or behind "the answer is"."""
    text = ECHO.sub(" ", text)
    if tags := TAGS.findall(text):
        text = tags[-1][1]
        if not PHRASE.search(text):
            return read_statement(text.strip()) or None
    if said := after_hashes(text):
        return picked(said) or read_statement(said) if wants_choice else read_statement(said)
    if wants_choice and (choice := _choice(text)) is not None:
        return choice or None
    said = after_phrase(text)
    return read_statement(said) or None if said else None


def _choice(text: str) -> str | None:
    """The letters that a response settles on; "" where it cannot be told which, None where it names none."""
    left = left_over(text)
    phrases = [m for m in list(PHRASE.finditer(text))[-MAX_PHRASES:] if NEAR_LETTER.match(text, m.end())]
    if left and (not phrases or left.start() > phrases[-1].start()):
        return picked(left[0]) or ""
    if not phrases:
        return None
    rest = text[phrases[-1].end() : phrases[-1].end() + MAX_SENTENCE].strip()
    return (picked(rest.split("\n", 1)[0]) or "") if rest else None


def last_value(text: str) -> str | None:
    """The value in the last sentence, of the last line that holds any text, that has one."""
    line = text.strip().rsplit("\n", 1)[-1][-MAX_LINE:]
    for sentence in reversed(SENTENCE.split(line)):
        if HAS_VALUE.search(sentence):
            return read_statement(sentence, last=True)
    return None
