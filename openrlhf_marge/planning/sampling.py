"""What a rollout samples: tokens by kind, prompts read and cached, steps of the engines."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from itertools import zip_longest

import numpy as np

from openrlhf_marge.planning.visits import SampledState, SampledVisit, repeated

SEQUENCES = 128  # that an engine of OpenRLHF computes at once (vLLM's max_num_seqs where none is given)


@dataclass(frozen=True, kw_only=True)
class Sampled:
    """Sums over visits; ``completion_tokens`` by state index. ``looked_at`` counts context tokens of each token."""

    problems: float = 0.0
    without_guidance: float = 0.0  # problems that bring nothing to train on
    states: float = 0.0
    completions: float = 0.0
    trained: float = 0.0  # completions that are trained on
    untrained: float = 0.0  # candidates and probes
    untrained_tokens: float = 0.0
    prompt_tokens: float = 0.0  # once per request
    prefill_tokens: float = 0.0  # that the engines compute
    cached_tokens: float = 0.0  # that they find in their cache, of every completion's context
    looked_at: float = 0.0
    completion_tokens: tuple[float, ...] = ()

    @property
    def tokens(self) -> float:
        """Generated ones."""
        return self.untrained_tokens + sum(self.completion_tokens)

    def __add__(self, other: Sampled) -> Sampled:
        mine, others = (_numbers(s) for s in (self, other))
        by_state = zip_longest(self.completion_tokens, other.completion_tokens, fillvalue=0.0)
        return Sampled(
            **{name: mine[name] + others[name] for name in mine}, completion_tokens=tuple(a + b for a, b in by_state)
        )

    def times(self, factor: float) -> Sampled:
        """So many times all of it."""
        return Sampled(
            **{name: value * factor for name, value in _numbers(self).items()},
            completion_tokens=tuple(t * factor for t in self.completion_tokens),
        )


def _numbers(sampled: Sampled) -> dict[str, float]:
    return {f.name: getattr(sampled, f.name) for f in fields(Sampled) if f.name != "completion_tokens"}


def sampled_of(visits: Sequence[SampledVisit], block: int | None) -> Sampled:
    """What visits sample, where the engines' cache keeps blocks of so many tokens; None: they have no cache."""
    return sum((_of_visit(visit, block) for visit in visits), Sampled())


def _of_visit(visit: SampledVisit, block: int | None) -> Sampled:
    requests = [*visit.untrained, *visit.states]
    computed, cached = _prefill(requests, block)
    return Sampled(
        problems=1,
        without_guidance=not visit.states,
        states=len(visit.states),
        completions=sum(len(s.completions) for s in visit.states),
        trained=sum(len(s.trained) for s in visit.states),
        untrained=sum(len(s.completions) for s in visit.untrained),
        untrained_tokens=sum(sum(s.lengths) for s in visit.untrained),
        prompt_tokens=sum(len(s.context) for s in requests),
        prefill_tokens=computed,
        cached_tokens=cached,
        looked_at=sum(_looked_at(s) for s in requests),
        completion_tokens=tuple(float(sum(s.lengths)) for s in visit.states),
    )


def _looked_at(state: SampledState) -> float:
    """Sum over generated tokens of the tokens before them and themselves."""
    lengths = np.array(state.lengths, dtype=float)
    return float((lengths * len(state.context) + lengths * (lengths + 1) / 2).sum())


def _prefill(requests: Sequence[SampledState], block: int | None) -> tuple[float, float]:
    """Context tokens that are computed and that are cached, of all completions of a problem's requests.

    What has been read or generated before is in the cache in whole blocks; at least one token is computed.
    """
    from openrlhf_marge.prefix_sharing.order import common_prefix  # its package loads torch

    computed = cached = 0
    known: list[np.ndarray] = []
    for request in requests:
        n, length = len(request.completions), len(request.context)
        first = max((common_prefix(request.context, path) for path in known), default=0)
        for shared in (first, *[length] * (n - 1)):
            found = min(shared, length - 1) // block * block if block else 0
            cached += found
            computed += length - found
        known += [request.context] if not known or len(request.context) > first else []
        known += [np.concatenate([request.context, ids]) for ids in request.completions]
    return computed, cached


def engine_steps(visits: Sequence[SampledVisit], problems: int, sequences: int = SEQUENCES) -> int:
    """Decoding steps of an engine that explores so many problems at once, ``sequences`` completions at a time.

    A problem's states are completed once its candidates are. Requests are served in the order in which they come.
    """
    stages = [_stages(visit) for visit in repeated(visits, problems)]
    free = [0] * sequences  # steps at which a place gets free
    ready = [(0, number, 0) for number, of_problem in enumerate(stages) if of_problem]
    heapq.heapify(ready)
    end = 0
    while ready:
        time, number, stage = heapq.heappop(ready)
        finished = 0
        for length in stages[number][stage]:
            finish = max(time, free[0]) + length
            heapq.heapreplace(free, finish)
            finished = max(finished, finish)
        end = max(end, finished)
        if stage + 1 < len(stages[number]):
            heapq.heappush(ready, (finished, number, stage + 1))
    return end


def _stages(visit: SampledVisit) -> list[list[int]]:
    """Lengths of what is sampled at once, before what waits for it."""
    parts: Iterator[Sequence[SampledState]] = iter((visit.untrained, visit.states))
    return [lengths for part in parts if (lengths := [n for state in part for n in state.lengths])]
