"""Finds where a text says its answer: labels and phrases in several languages, the end of a turn, the next turn."""

from __future__ import annotations

import itertools
import re

SPECIAL = re.compile(r"<\|[^|<>\n]{1,40}\|>|</?s>|<end_of_turn>|<eos>")  # special tokens that end a decoded response
INVISIBLE = re.compile(
    "[\u200b\u200e\u200f\u202a-\u202e\u2060\u2066-\u2069\u061c\ufeff]"
)  # writing direction, no width
NEXT_TURN = re.compile(r"<\|im_start\|>\s*user")
THINK_END = "</think>"
TAGS = re.compile(r"<(answer|final_answer)>(.*?)(?:</\1>|$)", re.DOTALL | re.IGNORECASE)
NEXT_QUESTION = re.compile(
    r"(?:\n|(?<=[.!?。$}])[ \t])[#*_ \t]{0,20}(?:(?:here\s+is\s+)?(?:a\s+|the\s+)?(?:new|next|another)\s+)?"
    r"(?:question|problem|exercise|instruction|user|human|q|pregunta|frage|aufgabe|soal|pertanyaan|problema|exercice|"
    r"вопрос|задача|問題|问题|题目|질문|문제)[*_]{0,3}[ ]?(?:\(?(?:no\.?\s?)?\d{1,4}\)?)?[*_]{0,3}[ ]?[:：]",
    re.IGNORECASE,
)
HASHES = re.compile(r"####[ \t]*([^\n]+)")
# A heading of Markdown's fourth level, whose line gives no answer.
HEADING = re.compile(
    r"[*_\d.) ]*(?:steps?\b|(?:the\s+)?(?:final\s+)?answers?\W*$|conclusion|explanation|verif|solution\W*$|check)",
    re.IGNORECASE,
)
# Nouns whose languages write words with spaces between them, then those that do not.
NOUN = (
    r"(?:(?<![^\W\d_])(?:(?:final|correct|right|best)\s+)?(?:answers?|(?<=correct\s)(?:option|choice)s?|(?<=right\s)(?:option|choice)s?|(?<=best\s)(?:option|choice)s?|antwort(?:en)?|lösung|ergebnis|respuestas?|réponses?|"
    r"reponse|respostas?|risposta|jawaban(?:nya)?|ответ|відповідь|odpowiedź|odpověď|odpoveď|svar(?:et)?|vastaus|"
    r"antwoord|válasz|răspuns(?:ul)?|cevap|yanıt|đáp\s+(?:án|số)|απάντηση|उत्तर)"
    r"(?:\s*\(s\))?(?:\s+(?:finale?s?|correct[ao]|correcte|definitiv[ao]|akhir|cuối\s+cùng))?"
    r"|答案|答え|回答|解答|정답|답|答|คำตอบ|الجواب|الإجابة|جواب|پاسخ|תשובה)"
)
ASKED = r"(?:\s+(?:to|for|of|pour|zu|para|a)\s+[^.:\n$\d]{1,50}?)?"
VERB = (
    r"(?:(?:(?:should|must|would|will|can\s+only)\s+be|turns\s+out\s+to\s+be|comes\s+out\s+to(?:\s+be)?|becomes|equals|"
    r"is|are|was|ist|lautet|sind|es|son|est|sont|è|é|adalah|ialah|là|är|er|on|jest|to|este)(?![^\W\d_])|[是为為はは은는])"
)
PHRASE = re.compile(
    rf"{NOUN}(?:{ASKED}[*_\"”]*\s*{VERB}|\s{{0,9}}[*_\"”]{{0,9}}\s{{0,9}}(?:[:：=]|\n|(?=\$|\\\[|\\\()))[ \t:：*_]*",
    re.IGNORECASE,
)
SAID = re.compile(PHRASE.pattern + r"[^\w$\\\n]{0,10}[\w$\\(\-]", re.IGNORECASE)
FULL_BOX = re.compile(r"\\(?:boxed|fbox)\s*\{\s*[^\s}]")
# An answer without a label, at the end of a paragraph.
SENTENCE_WITH_VALUE = re.compile(r"\d[^\n]{0,200}[.!$][ \t]*\n[ \t\n]*$")
MAX_ENDS = 20
NOT = re.compile(r"not\b", re.IGNORECASE)  # "the answer is not 5" gives none
# A line of its own, which says more than a box in the reasoning before it.
LABEL = re.compile(rf"(?:^|\n)[ \t*_#>\-]{{0,20}}(?:the\s+)?{NOUN}[*_]*\s*[:：][*_]*", re.IGNORECASE)
HOPE = re.compile(r"\.?\s*I hope (?:it|this) is correct.*", re.IGNORECASE | re.DOTALL)
FENCE = re.compile(r"\s*```[ \t]*\w*[ \t]*\n(.*?)(?:```|$)", re.DOTALL)
BULLETS = re.compile(r"(?:[ \t]*[-*•][ \t]+[^\n]+(?:\n|$)){2,}")
SENTENCE_END = re.compile(r"""(?<=[\w})\]$*`"'”’»%°!])(?<!\s[A-Z])(?<!\bvs)[.。](?=\s|$)|。|[?!](?=\s+[A-Z])""")
QUOTES = ' \t*_`"“”„«»「」『』'


def own_text(response: str) -> str:
    """A response without its thoughts, special tokens, the next turn and what it asks itself after its answer."""
    text = response
    if THINK_END in text:
        text = text.rsplit(THINK_END, 1)[1]
    if (turn := NEXT_TURN.search(text)) and text[: turn.start()].strip():
        text = text[: turn.start()]
    text = _up_to(SPECIAL, text.replace("\r\n", "\n"))
    return _up_to(NEXT_QUESTION, INVISIBLE.sub("", SPECIAL.sub("", text)))


def _up_to(end: re.Pattern, text: str) -> str:
    """A text up to the first such end that comes after its answer."""
    answered = min((m.end() for p in (FULL_BOX, HASHES, SAID) if (m := p.search(text))), default=len(text))
    for match in itertools.islice(end.finditer(text), MAX_ENDS):
        if match.start() >= answered or SENTENCE_WITH_VALUE.search(text, max(0, match.start() - 300), match.start()):
            return text[: match.start()]
    later = end.search(text, answered)
    return text[: later.start()] if later else text


def after_hashes(text: str) -> str | None:
    """GSM8K's form: the rest of the line after the last "####"."""
    found = [line for line in HASHES.findall(text) if not HEADING.match(line)]
    return found[-1].strip() if found and re.search(r"\w|\\[{a-z]|∅", found[-1]) else None


def after_phrase(text: str) -> str | None:
    """What follows the last "the answer is": a sentence, a formula, the lines of a code fence or of bullets."""
    start = max((m.end() for m in PHRASE.finditer(text) if not NOT.match(text, m.end())), default=None)
    if start is None:
        return None
    rest = HOPE.sub("", text[start : start + 4000])
    if fence := FENCE.match(rest):
        return ", ".join(line.strip() for line in fence[1].strip().splitlines() if line.strip()) or None
    rest = re.sub(
        r"^\s*\n\s*>[ \t]", "", rest if rest[:1].isspace() else "\n" + rest if text[start - 1] == "\n" else rest
    ).strip()
    if bullets := BULLETS.match(rest):
        return ", ".join(line.strip(" \t-*•") for line in bullets[0].strip().splitlines())
    if display := re.match(r"(\$\$.*?\$\$|\\\[.*?\\\])", rest, re.DOTALL):
        return display[1]
    return rest.split("\n", 1)[0].strip() or None


def first_sentence(line: str) -> str:
    """A line up to the full stop that ends its first sentence, without quotation marks and emphasis around it."""
    return SENTENCE_END.split(line, maxsplit=1)[0].strip(QUOTES)
