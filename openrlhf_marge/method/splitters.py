"""Guidance -> states: where to cut. All ways cut on boundaries of the token ids that were really sampled.

``decode_pieces`` is injected because only the host has a tokenizer: it maps token ids to one text piece per id.
Another package may bring its own splitter, see EXTENDING.md.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Protocol

from openrlhf_marge.entry_points import Registry, function_of
from openrlhf_marge.types import Guidance, Problem, State, TokenIds

DecodePieces = Callable[[Sequence[int]], list[str]]


class SplitOptions(Protocol):
    """What is read of a ``MargeConfig``, which checks ``--marge.split`` and so is above this file."""

    @property
    def split(self) -> str: ...
    @property
    def n_states(self) -> int: ...
    @property
    def max_states(self) -> int | None: ...
    @property
    def step_label(self) -> str: ...


class Splitter(Protocol):
    """Cut positions in token counts, ascending, the first one being the length of s_0, all below ``len(ids)``.

    None at all where it finds nothing to cut at: then the cut is by tokens, and the metrics count it.
    """

    def __call__(self, ids: TokenIds, start: int, config: SplitOptions, decode_pieces: DecodePieces) -> list[int]: ...


def split_by_tokens(ids: TokenIds, start: int, config: SplitOptions, decode_pieces: DecodePieces) -> list[int]:
    """``n_states`` prefixes whose token counts grow evenly from s_0 (``start`` tokens) on (Appendix B.1)."""
    n, rest = config.n_states, len(ids) - start
    return [start + rest * j // n for j in range(n)]


def split_by_steps(ids: TokenIds, start: int, config: SplitOptions, decode_pieces: DecodePieces) -> list[int]:
    """s_0, then one state right after every step label in order of appearance (Appendix B.1).

    A state ends with the token that holds the label's last character. The labels that are there decide, whatever
    their numbers; without any after s_0 there is no cut.
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
    return [start, *cuts] if cuts else []


SPLITTERS: Registry[Splitter] = Registry(
    flag="--marge.split",
    group="openrlhf_marge.splitters",
    own={"step": split_by_steps, "tokens": split_by_tokens},
    check=function_of("(ids, start, config, decode_pieces) -> cuts"),
)


def split_into_states(
    problem: Problem,
    guidances: Sequence[Guidance],
    s0_ids: TokenIds,
    config: SplitOptions,
    decode_pieces: DecodePieces,
) -> list[State]:
    """The states of all guidances, s_0 first, each before those that go on from it.

    Without duplicates (guidances share the states of their common prefix: a trie), without the full response, each
    with room left, at most ``max_states`` per guidance.
    """
    places: dict[TokenIds, int] = {}
    states: list[State] = []
    for guidance in guidances:
        parent = None
        cuts, is_fallback = _cuts(problem, guidance, s0_ids, config, decode_pieces)
        for index, cut in enumerate(cuts):
            prefix = guidance.token_ids[:cut]
            if prefix not in places:
                places[prefix] = len(states)
                position = (cut - len(s0_ids)) / (len(guidance.token_ids) - len(s0_ids))
                segment = 0 if parent is None else cut - len(states[parent].prefix_ids)
                states.append(
                    State(
                        index=index,
                        prefix_ids=prefix,
                        position=position,
                        guidance=guidance,
                        parent=parent,
                        segment=segment,
                        is_fallback=is_fallback,
                    )
                )
            parent = places[prefix]
    return states


def _cuts(
    problem: Problem, guidance: Guidance, s0_ids: TokenIds, config: SplitOptions, decode_pieces: DecodePieces
) -> tuple[list[int], bool]:
    """Where the guidance is cut, and whether that is by tokens because the splitter found nothing to cut at."""
    ids = guidance.token_ids
    if ids[: len(s0_ids)] != s0_ids:
        raise ValueError(f"guidance of problem {problem.id} does not start with s_0; was --marge.cot_prefix changed?")
    found = SPLITTERS.load(config.split)(ids, len(s0_ids), config, decode_pieces)
    cuts = found or split_by_tokens(ids, len(s0_ids), config, decode_pieces)
    kept = sorted({len(s0_ids)} | {c for c in cuts if len(s0_ids) < c < min(len(ids), problem.max_response_tokens)})
    return _thinned(kept, config.max_states) if config.max_states else kept, not found


def _thinned(cuts: list[int], most: int) -> list[int]:
    """At most ``most`` of them, evenly over the whole, the first one always there."""
    if len(cuts) <= most:
        return cuts
    return [cuts[round(i * (len(cuts) - 1) / max(1, most - 1))] for i in range(most)]
