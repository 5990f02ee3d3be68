"""Pairs of steps that a tree search found (``--marge.explore mcts_dpo``; MCTS-DPO, arXiv 2405.00451).

At every depth of the path that the search took, the best of the steps that it had there is better than the worst. A
search whose path ends wrong gives none.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from openrlhf_marge.method.groups import StateGroup
from openrlhf_marge.pairs.base import DPO_OWN, PAIR_SCHEMA, Draft, PairRows, Texts, VisitGroups, unfit_end
from openrlhf_marge.pairs.searched import Child, Searched, contrasts
from openrlhf_marge.pairs.settings import PairSettings
from openrlhf_marge.types import Completion, TokenIds


class SearchedResponses(PairRows):
    """Each of the two steps with the best way on that the search knows, as whole responses: an approximation.

    The published loss is on the steps alone; what follows a step here is trained, too.
    """

    options: frozenset[str] = frozenset()
    reads_logs = True

    def drafts(self, visit: VisitGroups, settings: PairSettings, left_out: Counter[str]) -> Iterator[Draft]:
        searched = Searched(visit)
        for group, better, worse in contrasts(searched, left_out):
            whole = [whole_response(searched, group, child, settings) for child in (better, worse)]
            unfit = [reason for ids, last in whole if (reason := unfit_response(ids, last, settings))]
            if unfit:
                left_out[unfit[0]] += 1
            elif not whole[0][1].is_correct:
                left_out["never_solved"] += 1
            else:
                yield Draft(group=group, state_ids=group.state.prefix_ids, responses=(whole[0][0], whole[1][0]))


def whole_response(
    searched: Searched, group: StateGroup, child: Child, settings: PairSettings
) -> tuple[TokenIds, Completion]:
    """A step and the best steps after it to the end, and the completion that it ends with.

    Where the search went no further, the best completion of the state ends it.
    """
    if child.is_end:
        return child.completion.token_ids, child.completion
    after = searched.after(group, child)
    if children := searched.children(after):
        ids, last = whole_response(searched, after, children[-1], settings)
    else:
        last = max(after.completions, key=lambda c: (unfit_response(c.token_ids, c, settings) is None, c.reward))
        ids = last.token_ids
    return child.ids + ids, last


def unfit_response(ids: TokenIds, last: Completion, settings: PairSettings) -> str | None:
    """The reason to leave a whole response out, if any."""
    return "truncated" if last.truncated else unfit_end(ids, settings)


class SearchedSteps(PairRows):
    """The two steps alone, with a label smoothing by their visits, as published; without EOS where a step has none."""

    options: frozenset[str] = frozenset()
    reads_logs = True
    trainer = DPO_OWN

    def schema(self, settings: PairSettings) -> pa.Schema:
        return pa.schema([*PAIR_SCHEMA, ("label_smoothing", pa.float64()), ("append_eos", pa.bool_())])

    def drafts(self, visit: VisitGroups, settings: PairSettings, left_out: Counter[str]) -> Iterator[Draft]:
        searched = Searched(visit)
        for group, better, worse in contrasts(searched, left_out):
            responses = (whole_step(searched, group, better), whole_step(searched, group, worse))
            facts = {"label_smoothing": label_smoothing(better.step.visits, worse.step.visits), "append_eos": False}
            yield Draft(group=group, state_ids=group.state.prefix_ids, responses=responses, facts=facts)

    def row(self, draft: Draft, texts: Texts, settings: PairSettings) -> dict[str, Any]:
        return super().row(draft, texts, settings) | draft.facts


def whole_step(searched: Searched, group: StateGroup, child: Child) -> TokenIds:
    """A step, and those after it as long as the search has no other ones beside them."""
    ids = child.ids
    while not child.is_end:
        group = searched.after(group, child)
        if len(children := searched.children(group)) != 1:
            break
        (child,) = children
        ids += child.ids
    return ids


def label_smoothing(better: int, worse: int) -> float:
    """How likely it is that the worse step is the better one, by the visits of both; at most 0.5.

    1 - 1 / (1 + N_worse / max(1, N_better)): the conservative loss of MCTS-DPO's code.
    """
    return min(1 - 1 / (1 + worse / max(1, better)), 0.5)
