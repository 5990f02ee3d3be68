"""Which responses guide a problem (Sec. 3.3, Table 4), and the pool that remembers them between visits.

Choices are drawn from generators seeded by (run seed, problem, visit): the order in which answers arrive from the
engines cannot change them, and the visit counts are all the random state there is to save.
"""

from __future__ import annotations

import random
from array import array
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

from openrlhf_marge.method.config import MargeConfig
from openrlhf_marge.method.guidance_rules import GUIDANCE_RULES
from openrlhf_marge.method.splitters import DecodePieces
from openrlhf_marge.method.success import Outcomes
from openrlhf_marge.types import Completion, Guidance, TokenIds, pass_rate


def pick_guidance(
    completions: Sequence[Completion], s0_ids: TokenIds, eos_ids: frozenset[int], config: MargeConfig,
    rng: random.Random, visit: int = 0, decode_pieces: DecodePieces | None = None,
    wanted: Collection[bool] | None = None, n_fixed: int | None = None,
) -> tuple[Guidance, ...]:  # fmt: skip
    """Up to ``n_guidances`` different responses among the completions of s_0, by ``--marge.guidance_rule``.

    ``wanted`` are the verdicts that they may have, in place of what the rule says. The pass rate is that of the first
    ``n_fixed`` completions, or of all.

    Preference (Sec. 3.3): with a pass rate above the threshold incorrect ones, otherwise correct ones. Empty when
    there is no response of the wanted kind (or only empty ones). ``decode_pieces`` is needed with ``--marge.stop``.
    """
    rate = pass_rate(completions[:n_fixed])
    if wanted is None:
        wanted = GUIDANCE_RULES.load(config.guidance_rule).wanted(rate, config.guidance_threshold)
    responses = [
        (without_end(c.token_ids, eos_ids, config.stop, decode_pieces), c.is_correct)
        for c in completions
        if c.is_correct in wanted
    ]
    suitable = [(ids, is_correct) for ids, is_correct in responses if ids]
    rng.shuffle(suitable)
    different = list(dict(suitable).items())[: config.n_guidances]
    return tuple(
        Guidance(token_ids=s0_ids + ids, is_correct=is_correct, pass_rate=rate, visit=visit)
        for ids, is_correct in different
    )


def without_end(
    ids: TokenIds, eos_ids: frozenset[int], stop: Sequence[str] = (), decode_pieces: DecodePieces | None = None
) -> TokenIds:
    """``ids`` before the first EOS and before the first token of a stop text: what follows was never to be sampled."""
    end = next((i for i, token in enumerate(ids) if token in eos_ids), len(ids))
    if not stop:
        return ids[:end]
    assert decode_pieces is not None, "stop texts are looked for in the decoded pieces"
    pieces = decode_pieces(ids[:end])
    found = [place for place in map("".join(pieces).find, stop) if place >= 0]
    ends = accumulate(map(len, pieces))
    return ids[: sum(piece_end <= min(found) for piece_end in ends)] if found else ids[:end]


@dataclass(frozen=True, kw_only=True)
class PoolState:
    """Guidance, visits and pass rates of some or all problems, for checkpoints; its short repr keeps logs short."""

    guidance: Mapping[str, tuple[tuple[Any, ...], ...]]  # packed, see GuidancePool
    visits: Mapping[str, int]
    pass_rates: Mapping[str, float] = field(default_factory=dict)
    seen: Mapping[str, tuple[Outcomes, ...]] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"<guidance of {len(self.guidance)} problems>"


class GuidancePool:
    """The present guidance of every problem, its newest pass rate at s_0, and how often it was visited.

    The pass rate is not the guidance's: a problem that is always solved offers no incorrect response, so its old
    guidance stays.

    Token ids are packed into bytes, 4 for each: as a tuple of ints the guidance of a million problems would not fit.
    """

    def __init__(self) -> None:
        self._packed: dict[str, tuple[tuple[Any, ...], ...]] = {}
        self._visits: dict[str, int] = {}
        self._pass_rates: dict[str, float] = {}
        self._seen: dict[str, tuple[Outcomes, ...]] = {}

    def __len__(self) -> int:
        return len(self._packed)

    def get(self, problem_id: str) -> tuple[Guidance, ...]:
        return tuple(map(_unpack, self._packed.get(problem_id, ())))

    def set(self, problem_id: str, guidances: Sequence[Guidance]) -> None:
        self._packed[problem_id] = tuple(map(_pack, guidances))

    def pass_rate(self, problem_id: str) -> float | None:
        """Of the newest completions of s_0, None before the first."""
        return self._pass_rates.get(problem_id)

    def set_pass_rate(self, problem_id: str, rate: float) -> None:
        self._pass_rates[problem_id] = rate

    def seen(self, problem_id: str) -> tuple[Outcomes, ...]:
        """What earlier visits saw at the problem's states, as far as an exploration had it kept."""
        return self._seen.get(problem_id, ())

    def see(self, problem_id: str, outcomes: tuple[Outcomes, ...]) -> None:
        """Keep these in place of what was seen before."""
        self._seen[problem_id] = outcomes

    def visits(self, problem_id: str) -> int:
        """So many were counted."""
        return self._visits.get(problem_id, 0)

    def visit(self, problem_id: str) -> int:
        """Count a visit; the first has the number 0."""
        number = self.visits(problem_id)
        self._visits[problem_id] = number + 1
        return number

    def state_dict(self, problem_ids: Iterable[str] | None = None) -> PoolState:
        """The state of these problems, or of all."""
        ids = list(self._visits if problem_ids is None else problem_ids)

        def of_these(known: Mapping[str, Any]) -> dict[str, Any]:
            return {i: known[i] for i in ids if i in known}

        return PoolState(
            guidance=of_these(self._packed), visits=of_these(self._visits), pass_rates=of_these(self._pass_rates),
            seen=of_these(self._seen),
        )  # fmt: skip

    def update(self, state: PoolState) -> None:
        """Take over what ``state`` knows; other problems stay as they are."""
        self._packed.update(state.guidance)
        self._visits.update(state.visits)
        self._pass_rates.update(state.pass_rates)
        self._seen.update(state.seen)


def _pack(guidance: Guidance) -> tuple[Any, ...]:
    return array("I", guidance.token_ids).tobytes(), guidance.is_correct, guidance.pass_rate, guidance.visit


def _unpack(packed: tuple[Any, ...]) -> Guidance:
    ids = array("I")
    ids.frombytes(packed[0])
    return Guidance(token_ids=tuple(ids), is_correct=packed[1], pass_rate=packed[2], visit=packed[3])
