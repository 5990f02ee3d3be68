"""Which prompt tokens an engine has in its prefix cache: whole blocks, the oldest forgotten first, as in vLLM."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

BLOCK = 16  # tokens: vLLM's on GPUs


class PrefixBlocks:
    def __init__(self, most_tokens: int) -> None:
        self._most = most_tokens // BLOCK
        self._blocks: OrderedDict[int, None] = OrderedDict()

    def clear(self) -> None:
        self._blocks.clear()

    def add(self, ids: Sequence[int]) -> int:
        """How many of the ids were there; now all whole blocks of them are. The last token is always computed."""
        cached, chain, is_known = 0, 0, True
        for start in range(0, len(ids) - BLOCK + 1, BLOCK):
            chain = hash((chain, *ids[start : start + BLOCK]))
            is_known = is_known and chain in self._blocks
            if is_known:
                cached += BLOCK
            self._blocks[chain] = None
            self._blocks.move_to_end(chain)
        while len(self._blocks) > self._most:
            self._blocks.popitem(last=False)
        return min(cached, len(ids) - 1)
