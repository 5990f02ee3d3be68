"""Token ids -> one text piece per id; joined they are the decoded text, whatever the ids."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise
from os.path import commonprefix
from typing import Any

BLOCK = 32  # ids decoded at once; after so many a new block begins
OVERLAP = 8  # settled places that it goes back: tokenizers treat the first token of a text in their own way
BROKEN = "\ufffd"  # what bytes that are no character become; at the end of a text the rest may still be missing


def decode_pieces(tokenizer: Any, ids: Sequence[int]) -> list[str]:
    """One piece per id; a character belongs to the token that completes it.

    A token alone is not enough: sentencepiece drops a leading space, bytes of one character may be spread over
    tokens, and a later byte may show that those before it are no character. So the text is decoded once as a whole,
    and a token gets what the ids up to it have in common with that text beyond the ids before it.
    """
    decoded = _Decoded(tokenizer, list(ids))
    ends = accumulate(_ends(decoded), max, initial=0) if ids else ()
    return [decoded.text[a:b] for a, b in pairwise(ends)]


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
        common = commonprefix([added, self.text[self._place :]])  # noqa: RUF071 - of characters
        return self._place + len(common), False

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
