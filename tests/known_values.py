"""Problems whose values are known: chains of steps, each right or wrong, and what an advantage says of a step of them.

A response is "ab...+2:cd...-3:..." after the prompt's "1:": of each step some letters that say nothing, so that no two
responses are alike, and whether the path is right after it. A step keeps a right path right with a chance of its own,
and repairs a wrong one with another, so the value of a prefix depends on the steps done and on whether they are right.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from openrlhf_marge import Completion
from openrlhf_marge.method.advantages import group_advantages
from openrlhf_marge.method.groups import StateGroup
from openrlhf_marge.types import TokenIds

from factories import EOS, text_ids

RIGHT, WRONG = ord("+"), ord("-")
LETTERS = text_ids("abcdefghijklmnopqrstuvwxyz")
LETTERS_PER_STEP = 6  # with its sign and the next label a step has 9 tokens
STEP_LABEL, S0 = r"\d:", "1:"


@dataclass(frozen=True)
class Chain:
    """``keeps``: the chance of each step (at most 9) that it keeps a right path right; ``repairs``: a wrong one."""

    keeps: tuple[float, ...]
    repairs: float = 0.0

    def value(self, done: int, is_right: bool) -> float:
        """The chance of a right end after so many steps."""
        if done == len(self.keeps):
            return float(is_right)
        becomes_right = self.keeps[done] if is_right else self.repairs
        return becomes_right * self.value(done + 1, True) + (1 - becomes_right) * self.value(done + 1, False)


def verdicts(ids: Iterable[int]) -> list[bool]:
    """Whether the path is right, after each step of these tokens."""
    return [token == RIGHT for token in ids if token in (RIGHT, WRONG)]


class KnownModel:
    """The sampler of an ``Explorer``: completions of the chains, by problem."""

    def __init__(self, chains: dict[str, Chain]) -> None:
        self.chains = chains

    async def complete(self, asked, prefix_ids: TokenIds, n: int, seed: int) -> list[Completion]:
        rng, chain, done = random.Random(seed), self.chains[asked.id], [True, *verdicts(prefix_ids)]
        return [self._completion(rng, chain, len(done) - 1, done[-1]) for _ in range(n)]

    async def is_correct(self, asked, response_ids: TokenIds) -> bool:
        return verdicts(response_ids)[-1]

    def _completion(self, rng: random.Random, chain: Chain, done: int, is_right: bool) -> Completion:
        """From after the label of the step that comes next."""
        ids: list[int] = []
        for step in range(done, len(chain.keeps)):
            if step > done:
                ids += text_ids(f"{step + 1}:")
            is_right = rng.random() < (chain.keeps[step] if is_right else chain.repairs)
            ids += [*rng.choices(LETTERS, k=LETTERS_PER_STEP), RIGHT if is_right else WRONG]
        return Completion(token_ids=(*ids, EOS), reward=float(is_right), is_correct=is_right)


class StepAdvantage(NamedTuple):
    """What was estimated of a step that is trained on, and what is true; steps of one ``cell`` are alike."""

    cell: tuple[str, int, bool, bool]  # problem, place of the step, whether the path is right before and after it
    estimate: float
    truth: float  # V(s_{j+1}) - V(s_j)


def of_completions(chain: Chain, group: StateGroup, kind: str) -> list[StepAdvantage]:
    """Each step of each completion: the tokens' own advantages, or the group's (``--marge.advantage``)."""
    of_group = group_advantages([c.reward for c in group.completions], [0] * len(group.completions), kind)
    before = [True, *verdicts(group.state.prefix_ids)]
    found = []
    for completion, advantage in zip(group.completions, of_group, strict=True):
        own = completion.advantages or (advantage,) * len(completion.token_ids)
        estimates = [a for a, token in zip(own, completion.token_ids, strict=True) if token in (RIGHT, WRONG)]
        path = [before[-1], *verdicts(completion.token_ids)]
        steps = zip(pairwise(path), estimates, strict=True)
        found += [_step(chain, group, len(before) - 1 + i, *step, a) for i, (step, a) in enumerate(steps)]
    return found


def of_guidance(chain: Chain, groups: Sequence[StateGroup]) -> list[StepAdvantage]:
    """Each step of the guidance between two states: the difference of their values (``vine``)."""
    found = []
    for group in groups:
        if group.state.parent is not None:
            path = [True, *verdicts(group.state.prefix_ids)]
            found.append(_step(chain, group, len(path) - 2, path[-2], path[-1], group.value_gain))
    return found


def _step(chain: Chain, group: StateGroup, place: int, before: bool, after: bool, estimate: float) -> StepAdvantage:
    truth = chain.value(place + 1, after) - chain.value(place, before)
    return StepAdvantage((group.problem.id, place, before, after), estimate, truth)


@dataclass(frozen=True)
class Errors:
    """Of the advantages of steps; the root of bias^2 + variance is the RMSE."""

    steps: int
    bias: float  # root mean square over steps of their cell's mean error
    variance: float  # mean over steps of their cell's variance
    correlation: float  # of estimates and truths about 0, which no common factor changes
    square: float  # mean of the squared true advantages

    @property
    def rmse(self) -> float:
        return float(np.sqrt(self.bias**2 + self.variance))

    @property
    def explained(self) -> float:
        """What of a mean squared true advantage the estimates explain, multiplied by the best common factor."""
        return self.square * self.correlation**2


def errors_of(steps: Sequence[StepAdvantage]) -> Errors:
    """Cells of a single step tell no variance and are left out; that of a cell's mean is not counted as bias."""
    cells = defaultdict(list)
    for step in steps:
        cells[step.cell].append(step)
    of_cells = [(len(c), [s.estimate for s in c], c[0].truth) for c in cells.values() if len(c) > 1]
    counts = np.array([n for n, _, _ in of_cells], dtype=float)
    variances = np.array([np.var(estimates, ddof=1) for _, estimates, _ in of_cells])
    errors = np.array([np.mean(estimates) - truth for _, estimates, truth in of_cells])
    squared_bias = np.average(errors**2 - variances / counts, weights=counts)
    estimates, truths = (np.array([getattr(s, name) for s in steps]) for name in ("estimate", "truth"))
    return Errors(
        steps=int(counts.sum()),
        bias=float(np.sqrt(max(0.0, squared_bias))),
        variance=float(np.average(variances, weights=counts)),
        correlation=float(estimates @ truths / np.sqrt((estimates @ estimates) * (truths @ truths))),
        square=float(np.mean(truths**2)),
    )
