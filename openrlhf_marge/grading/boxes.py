r"""The box that answers: the last ``\boxed{}`` of a text, with the boxes and the mathematics that belong to it."""

from __future__ import annotations

import re
from dataclasses import dataclass

MAX_BOXES = 20  # looked at from the end
# TeX also boxes what follows without a brace; of "in \boxed as requested" that is no answer.
BOX = re.compile(
    r"\\(?:boxed|fbox)\s*(?:(\{)|(-?\d[\d.,/]*|[A-Za-z](?![A-Za-z])(?=\s*(?:\$|\\[)\]]|[.,;:]?\s*(?:\n|$)))))"
)
ECHO = re.compile(r"\\(?:boxed|fbox)(?![A-Za-z])(?!\s*[{\d-])(?!\s*[A-Za-z](?:[$\\.]|$))")  # of an instruction
PLACEHOLDER = re.compile(
    r"\s*(?:\\text\{\s*)?(?:(?:(?:your|the)\s+)?(?:final\s+)?answer|\.\.\.|\\[lc]?dots)?\s*\}?\s*", re.I
)
# What may stand between boxes that belong to one answer.
JOINT = re.compile(
    r"(?:\s|[$,;&.]|\\[()\[\],;!]|\\\\|\\q?quad|\\text\{\s*(?:and|or)\s*\}|\b(?:and|or)\b|[a-zA-Z](?:_\{?\w{1,3}\}?)?\s*=)*"
)
VALUE = r"(?:\$[^$\n]{1,200}\$|[-−]?\d[\d,]*(?:\.\d+)?)"
# In a formula a box goes on with whatever multiplies it or is counted with it; in a sentence, with other values.
GOES_ON = re.compile(
    r"(?:\\[,;!:]|\s)*(?:[-+*/^!\d(]|\\(?:cdot|times|pi|sqrt|frac|dfrac|tfrac|pm|mp|cup|ln|log|sin|cos|tan)(?![A-Za-z])|"
    r"[a-z](?![a-zA-Z])|[,;]?\s*(?:\\q?quad)?\s*\\text\{\s*(?:,\s*)?(?:and|or)\b)"
)
ADJOINING = re.compile(r"\^|\\(?:cdot|times|pi|sqrt|frac|dfrac|tfrac)(?![A-Za-z])")
OTHERS = re.compile(rf"(?:\s*,)?\s+(?:and|or)\s+{VALUE}(?=\s*(?:[.;]\s|[.;]?$))", re.MULTILINE)
SCALE = re.compile(r"(?:\\[,; ]|[\s$]|\\\)|\\text\{\s*)*(hundred|thousand|million|billion|trillion|dozen)\b", re.I)
BEFORE = re.compile(
    r"[-−+]?(?:\d+(?:\.\d+)?|\\[dt]?frac\{[^{}]*\}\{[^{}]*\}|\\sqrt\{[^{}]*\})?\s*(?:\\cdot|\\times|[-−+*/])?"
)
FORMULA_START = re.compile(
    r"\$|\n|\\[(\[]|=|<|>|&|:|\\\\|\\(?:approx|implies|Rightarrow|to|therefore|q?quad|leq?|geq?|ne)(?![A-Za-z])"
)
FORMULA_END = re.compile(r"\$|\\[)\]]|\n|=|<|>|&|\\(?:approx|implies|Rightarrow|to|leq?|geq?|\\)(?![A-Za-z])")


@dataclass(frozen=True, slots=True)
class Box:
    """``content`` is empty when the last box is, or only echoes a placeholder such as "your answer"."""

    start: int
    end: int
    content: str


def last_box(text: str) -> Box | None:
    """The last box that is closed, with those right before it that belong to it."""
    found: list[Box] = []  # from the last one backwards
    for match in reversed(list(BOX.finditer(text))[-MAX_BOXES:]):
        box = _box_of(text, match)
        if box is None or (found and box.end > found[-1].start):  # open, or around the last
            continue
        if not found and not box.content:
            return box
        if found and not (box.content and JOINT.fullmatch(text, box.end, found[-1].start)):
            break
        found.append(box)
    if not found:
        return None
    contents = list(dict.fromkeys(box.content for box in reversed(found)))
    if len(contents) == 1:
        return Box(found[-1].start, found[0].end, _whole(text, found[0]))
    return Box(found[-1].start, found[0].end, ", ".join(contents))


def boxed(text: str) -> str | None:
    """What the last box says; None without one, or when it is empty."""
    box = last_box(text)
    return box.content or None if box else None


def is_cut_off(text: str) -> bool:
    """Whether the last box never closes: such a response has not answered, whatever it says before."""
    matches = list(BOX.finditer(text))
    return bool(matches) and _box_of(text, matches[-1]) is None


def _box_of(text: str, match: re.Match) -> Box | None:
    """None when its brace never closes."""
    if not match[1]:
        return Box(match.start(), match.end(), match[2].rstrip(".,;"))
    content = balanced(text, match.end())
    if content is None:
        return None
    end = match.end() + len(content) + 1
    return Box(match.start(), end, "" if PLACEHOLDER.fullmatch(content) else content.strip())


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


def _whole(text: str, box: Box) -> str:
    r"""The content with what it is only a part of: ``2\boxed{5}``, ``\boxed{2}\sqrt{3}``, ``\boxed{3} or 7``."""
    content, after = box.content, text[box.end : box.end + 300]
    if match := SCALE.match(after):
        return f"{content} \\text{{ {match[1]} }}"
    if not _in_formula(text, box.start) and not ADJOINING.match(after):
        match = OTHERS.match(after)
        return content + match[0] if match else content
    end = FORMULA_END.search(after)
    rest = after[: end.start()] if end else after
    if end and not rest.strip() and (others := OTHERS.match(after, end.end())):
        return content + others[0]
    if GOES_ON.match(rest):
        rest = rest.rstrip(" .,;")
        content = content + rest if "text{" in rest[:14] else f"{_grouped(content)}{rest}"
    line = text[max(0, box.start - 300) : box.start]
    start = max((m.end() for m in FORMULA_START.finditer(line)), default=0)
    before = re.sub(r"\\[,;! $]|\\text\{[^{}]*\}", "", line[start:]).strip()
    if before and before != content and BEFORE.fullmatch(before):
        # 2\boxed{5} is 10 and no 25.
        content = f"{before}({content})" if before[-1].isdigit() else f"{before}{_grouped(content)}"
    return content


def _grouped(content: str) -> str:
    return content if re.fullmatch(r"\d+(?:\.\d+)?|\w", content) else f"({content})"


def _in_formula(text: str, position: int) -> bool:
    """Whether a formula is open there; an escaped dollar sign is money."""
    line = text[max(0, position - 2000) : position]
    dollars = len(re.findall(r"(?<!\\)\$", line)) - 2 * line.count("$$")
    opened = max(line.rfind("\\("), line.rfind("\\["))
    return dollars % 2 == 1 or opened > max(line.rfind("\\)"), line.rfind("\\]")) or line.count("$$") % 2 == 1
