"""Token ids -> text in pieces, one per id or cut where asked; joined they are the decoded text, whatever the ids."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from itertools import accumulate, islice, pairwise
from os.path import commonprefix
from typing import Any, Protocol

from openrlhf_marge.types import TokenIds

BLOCK = 32  # ids decoded at once; after so many a new block begins
OVERLAP = 8  # settled places that it goes back: tokenizers treat the first token of a text in their own way
BYTES = 4  # of a character at most, and so its ids
BROKEN = "\ufffd"  # what bytes that are no character become; at the end of a text the rest may still be missing

Span = tuple[TokenIds, TokenIds, Sequence[int]]  # ids before, ids, and the counts of ids after which to cut, ascending


class Decoder(Protocol):
    """A tokenizer that decodes many at once and drops no special tokens."""

    def decode(self, ids: Sequence[TokenIds]) -> list[str]: ...


def added_texts(decoder: Decoder, spans: Sequence[Span]) -> list[list[str]]:
    """What the ids of each span add to the text of those before, cut; all spans are decoded at once.

    As in ``decode_pieces`` a character belongs to the piece with the id that completes it.
    """
    starts = [_starts(*span) for span in spans]
    distinct = list(dict.fromkeys(ids for of_span in starts for ids in of_span))
    texts = dict(zip(distinct, decoder.decode(distinct), strict=True))
    return [_cut([texts[ids] for ids in of_span]) for of_span in starts]


def _starts(before: TokenIds, ids: TokenIds, cuts: Sequence[int]) -> list[TokenIds]:
    """The ids before, those up to each of the ``BYTES`` places that end with a cut, and all.

    A cut alone is not enough: within a character sentencepiece shows no character of the bytes right before it.
    """
    ends = [max(cut - back, 0) for cut in cuts for back in reversed(range(BYTES))]
    return [before, *(before + ids[:end] for end in ends), before + ids]


def _cut(starts: Sequence[str]) -> list[str]:
    """The last text from where it leaves the first one, cut where it leaves the others."""
    *starts, text = starts
    ends = accumulate((len(s if text.startswith(s) else shared_start([s, text])) for s in starts), max)
    return [text[a:b] for a, b in pairwise([*islice(ends, None, None, BYTES), len(text)])]


def shared_start(texts: Sequence[str]) -> str:
    """What all of them begin with."""
    return commonprefix(texts)  # noqa: RUF071 - of characters


def decode_pieces(tokenizer: Any, ids: Sequence[int]) -> list[str]:
    """One piece per id; a character belongs to the token that completes it.

    A token alone is not enough: sentencepiece drops a leading space, bytes of one character may be spread over
    tokens, and a later byte may show that those before it are no character. So the text is decoded once as a whole,
    and a token gets what the ids up to it have in common with that text beyond the ids before it.
    """
    decoded = _Decoded(tokenizer, list(ids))
    ends = accumulate(_ends(decoded), max, initial=0) if ids else ()
    return [decoded.text[a:b] for a, b in pairwise(ends)]


def before_stop(text: str, stop: Sequence[str]) -> str:
    """A completion as it is graded: up to the stop text that is complete first; all of it without any."""
    found = [(place + len(end), place) for end in stop if (place := text.find(end)) >= 0]
    return text[: min(found)[1]] if found else text


class _Decoded:
    """A text, and what the first of its ids have in common with it, for counts that grow.

    Only a block of ids is decoded for that: those from ``start`` on give ``lead``, which ends at ``place`` in the
    text, and then what is looked for. Blocks and leads begin and end where the text is settled: whole characters.
    """

    def __init__(self, tokenizer: Any, ids: list[int]) -> None:
        self._tokenizer, self.ids = tokenizer, ids
        self.text = self._decode(0, len(ids))
        self._start, self._lead, self._place = 0, "", 0
        self._settled = deque([0], maxlen=OVERLAP)
        self._block = 0, 0, ""  # the last one: its first id, the count of ids at its end, its text

    def unsettled(self, count: int) -> int:
        """Ids since the last whole character."""
        return count - self._settled[-1]

    def end(self, count: int) -> int:
        """Characters of the text that the first ``count`` ids have in common with it; all that is before is known."""
        end, is_settled = self.look(count)
        if is_settled:
            self._settled.append(count)
            if count - self._start > BLOCK and (lead := self._decode(self._settled[0], count)):
                self._start, self._lead, self._place = self._settled[0], lead, end
        return end

    def look(self, count: int) -> tuple[int, bool]:
        """As ``end``, and whether the text is settled there."""
        if self._block[:2] != (self._start, count):
            self._block = self._start, count, self._decode(self._start, count)
        block = self._block[2]
        if not block.startswith(self._lead):
            return self._place, False
        added = block[len(self._lead) :]
        if self.text.startswith(added, self._place):
            return self._place + len(added), not block.endswith(BROKEN)
        return self._place + len(shared_start([added, self.text[self._place :]])), False

    def begin_anew(self) -> None:
        """Look at all ids from the first one on."""
        self._start, self._lead, self._place = 0, "", 0

    def _decode(self, start: int, end: int) -> str:
        options = dict(skip_special_tokens=False, clean_up_tokenization_spaces=False)
        return self._tokenizer.decode(self.ids[start:end], **options)


def _ends(decoded: _Decoded) -> Iterator[int]:
    """The end of every count of ids from 1 on.

    Within a long run of broken bytes only every ``BLOCK``-th is looked at, the others once there is text again.
    """
    skipped: list[int] = []
    reached = 0
    for count in range(1, len(decoded.ids)):
        late = decoded.unsettled(count)
        if late > BLOCK and late % BLOCK:
            skipped.append(count)
            continue
        if late > BLOCK and decoded.look(count)[0] <= reached:
            decoded.begin_anew()
        yield from _ends_of(decoded, skipped, reached, decoded.look(count)[0] if skipped else 0)
        skipped = []
        reached = max(reached, end := decoded.end(count))
        yield end
    yield from _ends_of(decoded, skipped, reached, len(decoded.text))
    yield len(decoded.text)


def _ends_of(decoded: _Decoded, skipped: list[int], reached: int, end: int) -> Iterator[int]:
    """Those of the skipped counts, whose ids give the text from ``reached`` to ``end``; 0 where it is all broken."""
    has_text = decoded.text[reached:end].strip(BROKEN)
    return (decoded.end(count) if has_text else 0 for count in skipped)
