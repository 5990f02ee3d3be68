"""What comes of a visit: its completions in groups with ids of their own, and the ``Exploration`` of them all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from openrlhf_marge.method.groups import Exploration, StateGroup
from openrlhf_marge.method.trees import Branch
from openrlhf_marge.seeds import stable_hash
from openrlhf_marge.types import Completion, Problem, State, TokenIds


@dataclass(frozen=True, kw_only=True)
class Grouping:
    """The part of a ``Visit`` that needs no sampler."""

    problem: Problem
    number: int  # 0 at the first visit of the problem
    s0_ids: TokenIds  # () or the ids of the CoT prefix

    @property
    def s0(self) -> State:
        """The state s_0, of no guidance."""
        return State(index=0, prefix_ids=self.s0_ids)

    def beside_s0(self, states: Sequence[State]) -> list[State]:
        """s_0 and these states of one guidance, in its order, each with the state before it as its parent."""
        chosen = [replace(self.s0, guidance=states[0].guidance) if states else self.s0]
        for place, state in enumerate(states):
            segment = len(state.prefix_ids) - len(chosen[-1].prefix_ids)
            chosen.append(replace(state, parent=place, segment=segment))
        return chosen

    def exploration(
        self, states: list[State], completed: list[list[Completion]], *, s0_chose: bool = False, **facts: Any
    ) -> Exploration:
        """The outcome of the visit: one group per state, and further fields of ``Exploration``.

        ``s0_chose``: which guidance there is depended on the outcomes of this very s_0 group.
        """
        guidance = states[0].guidance
        return Exploration(
            problem_id=self.problem.id, groups=self.groups(states, completed, s0_chose),
            guidance_age=None if guidance is None else self.number - guidance.visit, **facts,
        )  # fmt: skip

    def forest(self, branches: Sequence[Branch]) -> Exploration:
        """The outcome of a visit that branched: one group per prefix from which something was sampled, s_0 first."""
        completed: dict[TokenIds, list[Completion]] = {self.s0_ids: []}
        for branch in branches:
            completed.setdefault(branch.prefix_ids, []).append(branch.completion)
        states = [State(index=i, prefix_ids=prefix) for i, prefix in enumerate(completed)]
        return self.exploration(states, list(completed.values()))

    def probes(self, states: Sequence[State], completed: Sequence[Sequence[Completion]]) -> tuple[StateGroup, ...]:
        """Groups that are there for the values of their states alone: they are counted, kept and not trained on."""
        return tuple(
            StateGroup(
                id=self._group_id(("probe", state.prefix_ids)), problem=self.problem, state=state,
                n_states=len(states), completions=tuple(completions),
            )
            for state, completions in zip(states, completed, strict=True)
        )  # fmt: skip

    def groups(
        self, states: list[State], completed: list[list[Completion]], s0_chose: bool = False
    ) -> tuple[StateGroup, ...]:
        """One group per state, each with what its value is above that of the state before it.

        Where ``s0_chose``, the value of s_0 is not that of an independent sample: with 8 completions of p = 0.05 it is
        0.15 wherever one of them is there to guide. A gain over it would often have the wrong sign, so it is 0.
        """
        values = [sum(c.reward for c in completions) / len(completions) for completions in completed]

        def known_gain(state: State) -> bool:
            return state.parent is not None and not (s0_chose and states[state.parent].index == 0)

        return tuple(
            StateGroup(
                id=self._group_id(state.prefix_ids),
                problem=self.problem,
                state=state,
                n_states=len(states),
                completions=tuple(completions),
                value_gain=value - values[state.parent] if known_gain(state) else 0.0,
                chose_guidance=s0_chose and state.index == 0,
            )
            for state, completions, value in zip(states, completed, values, strict=True)
        )

    def _group_id(self, what: object) -> int:
        return stable_hash(self.problem.id, self.number, what) >> 1  # 63 bits, for tensors
