"""Pairs and responses by the outcome of whole completions: ``marge`` (Eq. 3 of the paper), ``outcome``, ``sft``."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa

from openrlhf_marge.method.groups import StateGroup
from openrlhf_marge.pairs.base import FACTS, SFT, Draft, PairRows, Texts, VisitGroups, facts_of, unfit_end
from openrlhf_marge.pairs.settings import PairSettings
from openrlhf_marge.seeds import generator
from openrlhf_marge.types import TokenIds

IdPairs = list[tuple[TokenIds, TokenIds]]


def usable_ids(
    group: StateGroup, settings: PairSettings, left_out: Counter[str], *, is_correct: bool
) -> list[TokenIds]:
    """The different completions of one verdict that end with EOS; the others are counted."""
    kept: dict[TokenIds, None] = {}
    for completion in group.completions:
        if completion.is_correct is not is_correct:
            continue
        if completion.truncated:
            left_out["truncated"] += 1
        elif reason := unfit_end(completion.token_ids, settings):
            left_out[reason] += 1
        else:
            kept[completion.token_ids] = None
    return list(kept)


def common_length(a: Sequence[int], b: Sequence[int]) -> int:
    """Tokens at the start that both share."""
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


def all_pairs(correct: list[TokenIds], incorrect: list[TokenIds], rng: random.Random) -> IdPairs:
    """Every correct with every incorrect one, in an order in which each comes back as late as possible."""
    rng.shuffle(correct)
    rng.shuffle(incorrect)
    n, m = len(correct), len(incorrect)
    around = math.lcm(n, m)  # after so many steps along the diagonal the pairs would repeat
    return [(correct[i % n], incorrect[(i + i // around) % m]) for i in range(n * m)]


def choose_pairs(group: StateGroup, settings: PairSettings, left_out: Counter[str]) -> IdPairs:
    """Up to ``pairs_per_state`` pairs (correct, incorrect) of a group; none are counted as ``one_outcome``."""
    correct, incorrect = (usable_ids(group, settings, left_out, is_correct=v) for v in (True, False))
    if not correct or not incorrect:
        left_out["one_outcome"] += 1
        return []
    pairs = all_pairs(correct, incorrect, generator(settings.seed, group.id))
    if settings.longest_common:
        pairs.sort(key=lambda pair: -common_length(*pair))
    return pairs[: settings.pairs_per_state]


def pair_drafts(group: StateGroup, pairs: IdPairs) -> Iterator[Draft]:
    for pair in pairs:
        yield Draft(group=group, state_ids=group.state.prefix_ids, responses=pair)


class MargePairs(PairRows):
    """Pairs of every state that is neither too easy nor too hard by the verdicts that make its pairs (MARGE-DPO)."""

    options = frozenset({"min_value", "max_value", "pairs_per_state", "closest_only", "longest_common"})

    def drafts(self, visit: VisitGroups, settings: PairSettings, left_out: Counter[str]) -> Iterator[Draft]:
        found = []
        for group in visit:
            if not settings.min_value <= group.pass_rate <= settings.max_value:
                # A state without contrast is no pair whatever the range is, and says more than its value.
                one_kind = len({c.is_correct for c in group.completions}) == 1
                left_out["one_outcome" if one_kind else "value_out_of_range"] += 1
            elif pairs := choose_pairs(group, settings, left_out):
                found.append((group, pairs))
        if settings.closest_only and found:
            closest = min(found, key=lambda item: abs(item[0].pass_rate - 0.5))
            left_out["not_closest"] += len(found) - 1
            found = [closest]
        for group, pairs in found:
            yield from pair_drafts(group, pairs)


class OutcomePairs(PairRows):
    """Pairs of whole responses, as usual in offline DPO: from s_0 only, whatever its value."""

    options = frozenset({"pairs_per_state", "longest_common"})

    def drafts(self, visit: VisitGroups, settings: PairSettings, left_out: Counter[str]) -> Iterator[Draft]:
        for group in visit:
            if group.state.index == 0:
                yield from pair_drafts(group, choose_pairs(group, settings, left_out))


class Responses:
    """Correct whole responses, the state included: the prompt is x alone."""

    options = frozenset({"from_all_states", "responses_per_state"})
    trainer = SFT

    def schema(self, settings: PairSettings) -> pa.Schema:
        return pa.schema([("prompt", pa.string()), ("response", pa.string()), *FACTS])

    def drafts(self, visit: VisitGroups, settings: PairSettings, left_out: Counter[str]) -> Iterator[Draft]:
        for group in visit:
            if settings.from_all_states or group.state.index == 0:
                correct = usable_ids(group, settings, left_out, is_correct=True)
                if not correct:
                    left_out["no_correct"] += 1
                if 0 < settings.responses_per_state < len(correct):
                    correct = generator(settings.seed, group.id).sample(correct, settings.responses_per_state)
                for ids in correct:
                    yield Draft(group=group, state_ids=(), responses=(group.state.prefix_ids + ids,))

    def row(self, draft: Draft, texts: Texts, settings: PairSettings) -> dict[str, Any]:
        return dict(prompt=texts.prompt, response=texts.response(0)) | facts_of(draft.group)
