"""Drafts -> texts that give the same ids again in OpenRLHF's RewardDataset and SFTDataset.

Both join prompt and response, strip newlines at the end, append " " and EOS where the text does not end with EOS, and
encode the whole. Decoding and encoding again is not always the identity, so every text is encoded here as they do.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Protocol

from openrlhf_marge.decoding import Decoder, Span, added_texts
from openrlhf_marge.pairs.base import Draft, Texts


class Codec(Decoder, Protocol):
    """A tokenizer that adds no special tokens of its own and drops none."""

    eos_id: int
    eos_text: str

    def encode(self, texts: Sequence[str]) -> list[list[int]]: ...


def checked(drafts: Sequence[Draft], codec: Codec, left_out: Counter[str]) -> Iterator[tuple[Draft, Texts]]:
    """The drafts whose texts survive, with them; the others are counted. All are decoded and encoded at once."""
    added = iter(added_texts(codec, [span for draft in drafts for span in _spans(draft)]))
    texts = [_texts(draft, added) for draft in drafts]
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
    """Prompt and response as both data sets join them; a row that ends without EOS says ``append_eos: false``."""
    for index, ids in enumerate(draft.responses):
        text = texts.prompt + texts.state + texts.response(index)
        if ids and ids[-1] == codec.eos_id:
            text = text.rstrip("\n")
            text = text if text.endswith(codec.eos_text) else f"{text} {codec.eos_text}"
        yield text


def _spans(draft: Draft) -> Iterator[Span]:
    """What to decode: the state, then every response."""
    prompt_ids, state_ids = draft.group.problem.prompt_ids, draft.state_ids
    yield prompt_ids, state_ids, ()
    for index, ids in enumerate(draft.responses):
        yield prompt_ids + state_ids, ids, draft.cuts.get(index, ())


def _texts(draft: Draft, added: Iterator[list[str]]) -> Texts:
    (state,) = next(added)
    return Texts(
        prompt=draft.group.problem.prompt, state=state, pieces=tuple(tuple(next(added)) for _ in draft.responses)
    )
