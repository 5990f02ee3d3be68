"""Ends completions that a stop text of the run (--marge.stop) ended in the way that OpenRLHF's data sets know: EOS."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from openrlhf_marge.method.guidance import without_end
from openrlhf_marge.method.splitters import DecodePieces
from openrlhf_marge.pairs.base import VisitGroups
from openrlhf_marge.types import Completion


def with_eos(
    visit: VisitGroups, stop: Sequence[str], eos_id: int, decode_pieces: DecodePieces
) -> tuple[VisitGroups, int]:
    """The visit with EOS in place of the stop texts, and how many completions that changed.

    Such a completion keeps the tokens before the first one of a stop text, as it does when it guides: what is graded.
    Where that token has text of the answer, too, nothing that could be a row was graded: the completion stays without
    EOS.
    """
    changed = 0

    def ended(completion: Completion) -> Completion:
        nonlocal changed
        ids = completion.token_ids
        if completion.truncated or eos_id in ids:
            return completion
        kept = without_end(ids, frozenset(), stop, decode_pieces)
        if len(kept) == len(ids) or _has_more(decode_pieces(ids), len(kept), stop):
            return completion
        changed += 1
        # What a token has of its own is of the tokens as they were sampled.
        return replace(completion, token_ids=(*kept, eos_id), log_probs=None, advantages=None)

    groups = tuple(replace(group, completions=tuple(map(ended, group.completions))) for group in visit)
    return groups, changed


def _has_more(pieces: Sequence[str], kept: int, stop: Sequence[str]) -> bool:
    """Whether there is text between the pieces that are kept and the first stop text, as in "}\\n" before "\\nQ:"."""
    text, begin = "".join(pieces), len("".join(pieces[:kept]))
    return bool(text[begin : min(place for place in map(text.find, stop) if place >= 0)].strip())
