"""The whole of what a sentence gives as its answer: "The largest n is 34, not 33." -> 34.

Where words may change what a value means, as in "5 more than 3", the sentence is given back whole, to be compared or
found unparsable; a part of an answer is never taken for it.
"""

from __future__ import annotations

import re

from openrlhf_marge.grading.phrases import PHRASE, QUOTES, SENTENCE_END
from openrlhf_marge.grading.wording import (
    BEFORE,
    BREAK,
    CHANGES,
    HAS_VALUE,
    ITEM,
    JOINED_VALUE,
    JOINER,
    MATH,
    NOUN,
    NUMBER,
    PROSE,
    REASON,
    SET_TEXT,
    UNIT_LETTER,
    VERB,
)

COUNTED = re.compile(rf"([-−]?\\?\$?(?:{NUMBER})) +([A-Za-z]{{2,}})\.?")  # 18 dollars, but not Route 66
MAX_LINE = 2000
MAX_VERBS = 10  # tried, from the last one


def read_statement(line: str, last: bool = False) -> str:
    """What a line gives as its answer; the line itself when that cannot be told from its words.

    ``last``: the line has no label, so where several values stand side by side the last one is meant.
    """
    sentence = line[-MAX_LINE:] if last else SENTENCE_END.split(line[:MAX_LINE], maxsplit=1)[0]
    line = sentence.strip(QUOTES)
    line = re.sub(r"^['‘]+(.*?)['’]+$", r"\1", re.sub(r"^that\s+", "", line))
    if not PROSE.search(re.sub(rf"{MATH}|{SET_TEXT}|\\[A-Za-z]+", " ", line, flags=re.DOTALL)):
        return with_unit(line)
    if (found := _leading(line)) and _is_over(line[found[1] :]):
        return found[0]
    words = re.sub(f"{MATH}|{SET_TEXT}", lambda m: "$" * len(m[0]), line, flags=re.DOTALL)
    for verb in reversed(list(VERB.finditer(words))[-MAX_VERBS:]):
        found = _leading(line, verb.end())
        if found and _is_over(line[found[1] :]):
            return found[0]
    values = _values(line)
    if values and (last or len(values) == 1):
        text, start, end = values[-1]
        if _is_over(line[end:]) and not BEFORE.search(line[:start]):
            return text
    return line if values else REASON.split(line, maxsplit=1)[0] or line


def stated_in_text(answer: str) -> str:
    r"""The value of a sentence set as text: ``\text{The answer is 460}``, ``\text{There are 12 ways}``."""
    match = re.fullmatch(r"\s*\\(?:text|mbox|textbf|textrm)\s*\{([^{}]*)\}\s*\.?(.*)", answer, re.DOTALL)
    text = f"{match[1]} {match[2]}".strip() if match else answer
    if phrases := list(PHRASE.finditer(text)):
        return read_statement(text[phrases[-1].end() :]) or answer
    if match and not match[2].strip() and (counted := COUNTED.fullmatch(text.strip())):
        return rf"{counted[1]} \text{{ {counted[2]} }}"
    is_short = len(text.split()) < (2 if ":" in text else 3)
    if match is None or match[2].strip() or is_short or not re.search(r"\d", text):
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
    end = _formula_end(line, start)
    return end if HAS_VALUE.search(line, start, end) else None


def _formula_end(line: str, start: int) -> int:
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
        if depth and line[position : position + 1] in (",", ";"):
            position += 1
    return end - len(line[start:end]) + len(line[start:end].rstrip(" :-–="))


def _values(line: str) -> list[tuple[str, int, int]]:
    """(text, start, end) of every value in a line; names such as $n$ only where there is nothing else."""
    found, position = [], 0
    while position < len(line):
        inside_word = position and (line[position - 1].isalnum() or line[position - 1] in "\\_^")
        end = position if inside_word else _formula_end(line, position)
        if HAS_VALUE.search(line, position, end):
            text, end = _leading(line, position)
            found.append((text, position, end))
        position = max(end, position + 1)
    return [f for f in found if not re.fullmatch(r"\$?\\?[A-Za-z]+\$?", f[0])] or found


def _is_over(rest: str) -> bool:
    """Whether what follows a value leaves it as it is: the end, a unit, other words."""
    if CHANGES.match(rest):
        return False
    clause = BREAK.split(rest, maxsplit=1)[0] if not re.match(r"\s*[.,;:!?]\s*$", rest) else ""
    if JOINED_VALUE.search(clause) or (VERB.search(clause) and HAS_VALUE.search(VERB.split(clause, maxsplit=1)[1])):
        return False
    return not rest or not (rest[0].isascii() and rest[0].isalnum())
