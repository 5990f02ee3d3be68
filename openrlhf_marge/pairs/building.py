"""Visits -> rows: a builder's drafts, those that fit and survive as text, each once."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

from openrlhf_marge.pairs.base import Builder, Draft, VisitGroups
from openrlhf_marge.pairs.settings import PairSettings
from openrlhf_marge.pairs.texts import Codec, checked

BATCH_DRAFTS = 512  # decoded and encoded at once
PROMPT_ROOM = 2  # RewardDataset drops a prompt that leaves no more than this for the response


def build_rows(
    visits: Iterable[VisitGroups], builder: Builder, settings: PairSettings, codec: Codec, left_out: Counter[str]
) -> Iterator[dict[str, Any]]:
    """Rows in order of the visits; whatever is left out is counted by reason in ``left_out``."""
    once = without_repeated(visits, left_out)
    drafts = fitting((d for visit in once for d in builder.drafts(visit, settings, left_out)), settings, left_out)
    seen: set[bytes] = set()
    while batch := list(islice(drafts, BATCH_DRAFTS)):
        for draft, texts in checked(batch, codec, left_out):
            row = builder.row(draft, texts, settings)
            if isinstance(row, str):
                left_out[row] += 1
            elif (digest := _digest(row)) in seen:
                left_out["duplicate"] += 1
            else:
                seen.add(digest)
                yield row


def without_repeated(visits: Iterable[VisitGroups], left_out: Counter[str]) -> Iterator[VisitGroups]:
    """Each visit once; those of another run of the same problem differ in what was sampled."""
    seen: set[int] = set()
    for visit in visits:
        # Of 64 bits, over token ids: the dump's largest part, so no text is made of it.
        digest = hash(tuple((group.id, *(c.token_ids for c in group.completions)) for group in visit))
        if digest in seen:
            left_out["repeated"] += 1
        else:
            seen.add(digest)
            yield visit


def fitting(drafts: Iterable[Draft], settings: PairSettings, left_out: Counter[str]) -> Iterator[Draft]:
    """Those that neither data set would cut or drop."""
    for draft in drafts:
        if len(set(draft.responses)) < len(draft.responses):  # graded twice, with two verdicts
            left_out["same"] += 1
            continue
        prompt = len(draft.group.problem.prompt_ids) + len(draft.state_ids)
        longest = prompt + max(map(len, draft.responses))
        if settings.max_len is not None and (longest > settings.max_len or prompt >= settings.max_len - PROMPT_ROOM):
            left_out["too_long"] += 1
        else:
            yield draft


def _digest(row: dict[str, Any]) -> bytes:
    """Digest of what is trained on: the same pair may come from states of other visits, of another value."""
    told = {k: v for k, v in row.items() if k not in ("problem_id", "state_index", "value")}
    return hashlib.blake2b(json.dumps(told, default=str).encode(), digest_size=16).digest()
