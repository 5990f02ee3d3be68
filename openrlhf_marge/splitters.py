"""Guidance -> states: where to cut. Both ways cut on boundaries of the token ids that were really sampled.

``decode_pieces`` is injected because only the host has a tokenizer: it maps token ids to one text piece per id.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from openrlhf_marge.types import Guidance, Problem, State, TokenIds

if TYPE_CHECKING:
    from openrlhf_marge.config import MargeConfig

DecodePieces = Callable[[Sequence[int]], list[str]]


class Splitter(Protocol):
    """Cut positions in token counts, ascending, the first one being the length of s_0, all below ``len(ids)``."""

    def __call__(self, ids: TokenIds, start: int, config: MargeConfig, decode_pieces: DecodePieces) -> list[int]: ...


def split_by_tokens(ids: TokenIds, start: int, config: MargeConfig, decode_pieces: DecodePieces) -> list[int]:
    """``n_states`` prefixes whose token counts grow evenly from s_0 (``start`` tokens) on (Appendix B.1)."""
    n, rest = config.n_states, len(ids) - start
    return [start + rest * j // n for j in range(n)]


def split_by_steps(ids: TokenIds, start: int, config: MargeConfig, decode_pieces: DecodePieces) -> list[int]:
    """s_0, then one state right after every step label in order of appearance (Appendix B.1).

    A state ends with the token that holds the label's last character. The labels that are there decide, whatever
    their numbers; without any after s_0 the cut is by tokens.
    """
    pieces = decode_pieces(ids)
    label_ends = [m.end() for m in re.finditer(config.step_label, "".join(pieces)) if m.end() > m.start()]
    cuts, chars, labels = [], 0, iter(label_ends)
    label_end = next(labels, None)
    for count, piece in enumerate(pieces, start=1):
        chars += len(piece)
        if label_end is not None and chars >= label_end:
            cuts.append(count)
            label_end = next((end for end in labels if end > chars), None)
    cuts = [c for c in cuts if c > start]
    return [start, *cuts] if cuts else split_by_tokens(ids, start, config, decode_pieces)


SPLITTERS: dict[str, Splitter] = {"step": split_by_steps, "tokens": split_by_tokens}


def split_into_states(
    problem: Problem, guidance: Guidance, s0_ids: TokenIds, config: MargeConfig, decode_pieces: DecodePieces
) -> list[State]:
    """States s_0 .. s_{n-1} of the guidance, without duplicates, without the full response, each with room left."""
    ids = guidance.token_ids
    if ids[: len(s0_ids)] != s0_ids:
        raise ValueError(f"guidance of problem {problem.id} does not start with s_0; was --marge.cot_prefix changed?")
    cuts = SPLITTERS[config.split](ids, len(s0_ids), config, decode_pieces)
    kept = sorted({c for c in cuts if c < len(ids) and c < problem.max_response_tokens})
    return [State(index=j, prefix_ids=ids[:c]) for j, c in enumerate(kept)]
