"""Drafts -> texts that give the same ids again in OpenRLHF's RewardDataset and SFTDataset.

Both join prompt and response, strip newlines at the end, append " " and EOS where the text does not end with EOS, and
encode the whole. Decoding and encoding again is not always the identity, so every text is encoded here as they do.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Protocol

from openrlhf_marge.pairs.base import Draft, Texts
from openrlhf_marge.types import TokenIds

# Ids decoded before a piece to see what it adds to the text, as in decoding.py: sentencepiece drops a leading space,
# and bytes of one character may be spread over tokens.
WINDOW = 8
Span = tuple[TokenIds, TokenIds]  # the window, and the window with the piece


class Codec(Protocol):
    """A tokenizer that adds no special tokens of its own and drops none."""

    eos_id: int
    eos_text: str

    def decode(self, ids: Sequence[TokenIds]) -> list[str]: ...

    def encode(self, texts: Sequence[str]) -> list[list[int]]: ...


def checked(drafts: Sequence[Draft], codec: Codec, left_out: Counter[str]) -> Iterator[tuple[Draft, Texts]]:
    """The drafts whose texts survive, with them; the others are counted. All are decoded and encoded at once."""
    spans = [_spans(draft) for draft in drafts]
    distinct = dict.fromkeys(ids for of_draft in spans for span in of_draft for ids in span)
    decoded = dict(zip(distinct, codec.decode(list(distinct)), strict=True))
    texts = [_texts(d, [_added(decoded, span) for span in s]) for d, s in zip(drafts, spans, strict=True)]
    # Not the texts alone, but what RewardDataset makes of them.
    wanted = dict.fromkeys(
        text for d, t in zip(drafts, texts, strict=True) for text in (t.prompt + t.state, *_whole(d, t, codec))
    )
    encoded = dict(zip(wanted, map(tuple, codec.encode(list(wanted))), strict=True))
    for draft, text in zip(drafts, texts, strict=True):
        before = draft.group.problem.prompt_ids + draft.state_ids
        whole = [encoded[joined] for joined in _whole(draft, text, codec)]
        if encoded[text.prompt + text.state] != before:
            left_out["prompt_text"] += 1
        elif whole != [before + ids for ids in draft.responses]:
            left_out["response_text"] += 1
        else:
            yield draft, text


def _whole(draft: Draft, texts: Texts, codec: Codec) -> Iterator[str]:
    """Prompt and response as both data sets join them; what ends without EOS is no row of theirs."""
    for index, ids in enumerate(draft.responses):
        text = texts.prompt + texts.state + texts.response(index)
        if ids and ids[-1] == codec.eos_id:
            text = text.rstrip("\n")
            text = text if text.endswith(codec.eos_text) else f"{text} {codec.eos_text}"
        yield text


def _spans(draft: Draft) -> list[Span]:
    """What to decode: the state, then every piece of every response."""
    prompt_ids = draft.group.problem.prompt_ids
    before = prompt_ids + draft.state_ids
    spans = [_span(prompt_ids, draft.state_ids)]
    for index, ids in enumerate(draft.responses):
        ends = (0, *draft.cuts.get(index, ()), len(ids))
        for start, end in pairwise(ends):
            spans.append(_span(before[-WINDOW:] + ids[:start], ids[start:end]))
    return spans


def _span(before: TokenIds, ids: TokenIds) -> Span:
    window = before[-WINDOW:]
    return window, window + ids


def _added(decoded: dict[TokenIds, str], span: Span) -> str:
    """What the piece adds to the text; where the window's text changes by it, the check of the whole fails."""
    window, both = (decoded[ids] for ids in span)
    return both[len(window) :]


def _texts(draft: Draft, added: list[str]) -> Texts:
    pieces, place = [], 1
    for index in range(len(draft.responses)):
        count = len(draft.cuts.get(index, ())) + 1
        pieces.append(tuple(added[place : place + count]))
        place += count
    return Texts(prompt=draft.group.problem.prompt, state=added[0], pieces=tuple(pieces))
