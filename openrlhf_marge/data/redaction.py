"""Takes secrets out of what is written and printed: W&B's key, passwords in URLs, tokens.

Whatever keeps or shows a command, a flag or the text of an error asks here first.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence

HIDDEN = "***"
LEAST = 8  # characters of a secret that is looked for in the output of a command; shorter ones are common words
# As short as argparse takes W&B's, and whatever else has a name of a secret.
SECRET_FLAG = r"--(?:logger\.wandb\.k\w*|(?:[\w.-]*[._-])?(?:password|passwd|secret|api_?key|token))"
SECRET_VARIABLE = re.compile(r"(?:^|_)(?:KEY|TOKEN|PASSWORD|SECRET)$")
VALUE = r"(?:'[^']*'|\"[^\"]*\"|\\.|[^\s'\"\\])+"
IN_TEXT = re.compile(rf"(?<![\w.-])({SECRET_FLAG})(?![\w.-])(['\"]?(?:\s*[=:,]\s*|(?:\s|\\\n)+))(?!--)({VALUE})")
IN_JSON = re.compile(r"(['\"](?:\w*_)?(?:password|passwd|secret|api_?key|token)['\"]\s*:\s*)(?:'[^']*'|\"[^\"]*\")")
USER_OF_URL = re.compile(r"(?<=://)[^\s/?#'\"]+(?=@)")
QUERY_OF_URL = re.compile(r"([?&](?:[\w-]*(?:token|key|password|secret|signature)|sig|auth)=)[^\s&#'\"]+", re.I)
TOKEN = re.compile(r"\b(?:hf_|sk-|gh[opsu]_|github_pat_|wandb_v\d_)[\w-]{16,}")


def redacted(text: str) -> str:
    """The text without the secrets that can be told by what they stand in or look like."""
    text = IN_TEXT.sub(rf"\1\2{HIDDEN}", text)
    text = IN_JSON.sub(rf'\1"{HIDDEN}"', text)
    text = USER_OF_URL.sub(HIDDEN, text)
    return TOKEN.sub(HIDDEN, QUERY_OF_URL.sub(rf"\1{HIDDEN}", text))


def redacted_words(words: Sequence[str]) -> list[str]:
    """The words of a command, quoted texts of flags among them, without secrets."""
    return [HIDDEN if _is_value(words, place) else redacted(word) for place, word in enumerate(words)]


def secrets_of(words: Sequence[str], environment: Mapping[str, str]) -> set[str]:
    """The secrets that a command is given, which it may print anywhere."""
    in_environment = (value for name, value in environment.items() if SECRET_VARIABLE.search(name))
    return {secret for secret in (*in_environment, *_given(words)) if len(secret) >= LEAST}


def without(text: str, secrets: set[str]) -> str:
    """``redacted``, and without these."""
    for secret in secrets:
        text = text.replace(secret, HIDDEN)
    return redacted(text)


def _given(words: Sequence[str]) -> Iterator[str]:
    for place, word in enumerate(words):
        if _is_value(words, place):
            yield word
        for _, _, value in IN_TEXT.findall(word):
            yield from _unquoted(value)


def _unquoted(value: str) -> list[str]:
    try:
        return shlex.split(value)
    except ValueError:
        return [value]


def _is_value(words: Sequence[str], place: int) -> bool:
    is_word = not words[place].startswith("--")
    return bool(is_word and place and re.fullmatch(SECRET_FLAG, words[place - 1]))
