"""What only a tokenizer can tell: problems from prompts, text pieces of token ids, s_0."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from openrlhf_marge.config import MargeConfig
from openrlhf_marge.types import Problem, TokenIds

# Ids decoded before a token to see what it adds to the text; more than any tokenizer joins into one character.
WINDOW = 8


def encode(tokenizer: Any, text: str) -> TokenIds:
    """Token ids of a text that already has its special tokens, as OpenRLHF encodes prompts."""
    return tuple(tokenizer(text=text, add_special_tokens=False)["input_ids"])


def problem_id(prompt: str, label: str) -> str:
    """A digest of both: stable over episodes, restarts and orders of the data."""
    return hashlib.blake2b(f"{prompt}\x00{label}".encode(), digest_size=8).hexdigest()


def make_problem(
    tokenizer: Any, prompt: str, label: str, max_len: int, max_new_tokens: int | None,
    given: Mapping[str, TokenIds] = MappingProxyType({}),
) -> Problem:  # fmt: skip
    """The problem of a prompt; the room for a response is OpenRLHF's: up to ``max_len`` and ``max_new_tokens``."""
    prompt_ids = encode(tokenizer, prompt)
    room = max_len - len(prompt_ids)
    identity = problem_id(prompt, label)
    return Problem(
        id=identity,
        prompt=prompt,
        label=label,
        prompt_ids=prompt_ids,
        max_response_tokens=room if max_new_tokens is None else min(room, max_new_tokens),
        given_guidance=given.get(identity),
    )


def decode_pieces(tokenizer: Any, ids: Sequence[int]) -> list[str]:
    """One text piece per id, such that the joined pieces are the decoded text.

    A token alone is not enough: sentencepiece drops a leading space, and bytes of one character may be spread over
    tokens. So each piece is what the token adds to the text of the few tokens before it.
    """
    windows = [list(ids[max(0, i - WINDOW) : i + 1]) for i in range(len(ids))]
    options = dict(skip_special_tokens=False, clean_up_tokenization_spaces=False)
    full = tokenizer.batch_decode(windows, **options)
    before = tokenizer.batch_decode([w[:-1] for w in windows], **options)
    return [f[len(b) :] for f, b in zip(full, before, strict=True)]


def s0_text(config: MargeConfig) -> str:
    """What every response starts with: the CoT prefix in step mode, nothing in tokens mode."""
    return config.cot_prefix if config.split == "step" else ""


def s0_token_ids(tokenizer: Any, config: MargeConfig) -> TokenIds:
    """Ids of s_0."""
    text = s0_text(config)
    return encode(tokenizer, text) if text else ()


def eos_token_ids(tokenizer: Any) -> frozenset[int]:
    """Ids at which a response has ended."""
    return frozenset(i for i in (tokenizer.eos_token_id, tokenizer.pad_token_id) if i is not None)
