"""The completions of a state in a group, and what one visit of a problem gave: groups, candidates, probes."""

from __future__ import annotations

from dataclasses import dataclass

from openrlhf_marge.types import Completion, Problem, State, pass_rate


@dataclass(frozen=True, slots=True, kw_only=True)
class StateGroup:
    """All completions of one state of one problem: the unit within which advantages are computed (Eq. 4)."""

    id: int  # of problem, visit and state; travels with every completion
    problem: Problem
    state: State
    n_states: int  # states that this visit of the problem had, this one included
    completions: tuple[Completion, ...]
    value_gain: float = 0.0  # V(s_j) - V(s_{j-1}), the credit of the tokens in between (VinePPO); 0 for s_0
    chose_guidance: bool = (
        False  # of s_0: its outcomes decided which guidance there is, so V(s_0) given this is biased
    )

    def __post_init__(self) -> None:
        if not self.completions:
            raise ValueError(f"state {self.state.index} of problem {self.problem.id} has no completions")
        if len({c.advantages is None for c in self.completions}) > 1:
            raise ValueError(
                f"state {self.state.index} of problem {self.problem.id} has completions with advantages of their own "
                "and without; give all or none"
            )

    @property
    def value(self) -> float:
        """V(s_j), the mean reward of the group (Eq. 2)."""
        return sum(c.reward for c in self.completions) / len(self.completions)

    @property
    def trained(self) -> tuple[Completion, ...]:
        """The completions that are trained on; only strategies that weigh tokens leave some out."""
        return tuple(c for c in self.completions if c.is_trained)

    @property
    def n_tokens(self) -> int:
        """Tokens of its completions."""
        return sum(len(c.token_ids) for c in self.completions)

    @property
    def pass_rate(self) -> float:
        """Share of correct completions; other than V(s_j) where rewards give partial credit."""
        return pass_rate(self.completions)

    @property
    def has_signal(self) -> bool:
        """Whether an advantage is other than zero: where completions have none of their own, if two rewards differ."""
        if self.completions[0].advantages is not None:
            return any(any(c.advantages or ()) for c in self.completions)
        return len({c.reward for c in self.completions}) > 1

    def trains(self, credits_prefix: bool) -> bool:
        """Whether an advantage is other than zero: of its completions, or of the guidance tokens before it."""
        return self.has_signal or (credits_prefix and self.value_gain != 0 and self.state.segment > 0)

    @property
    def weight_version(self) -> int:
        """Weight updates before the first token of its trained completions: that of the oldest weights."""
        return min(c.weight_versions[0] for c in self.trained)

    @property
    def crosses_update(self) -> bool:
        """Whether its tokens come from before and after a weight update (partial rollouts only)."""
        return len({v for c in self.completions for v in c.weight_versions}) > 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Exploration:
    """What one visit of a problem gave."""

    problem_id: str
    groups: tuple[StateGroup, ...] = ()  # one per state, in order of the states; empty when the problem was left out
    candidates: StateGroup | None = None  # sampled from s_0 to find the first guidance, never trained on
    probes: tuple[StateGroup, ...] = ()  # sampled for the values of their states alone, s_0 first; never trained on
    no_guidance: bool = False  # no suitable response was found, and none was there
    no_room: bool = False  # left out: the prompt leaves no room for a response
    n_fixed: int | None = None  # of the s_0 group, the first so many, whose number no outcome decided; None: all
    guidance_kept: bool = False  # s_0 gave no suitable response, so the old guidance stays
    guidance_age: int | None = None  # visits since the guidance of this visit was sampled
    predicted_values: tuple[float, ...] = ()  # of the states after s_0, where they were chosen by a prediction

    def __post_init__(self) -> None:
        if self.no_guidance and not self.groups and self.candidates is None:
            raise ValueError(f"problem {self.problem_id} found no guidance; keep the responses that were tried")

    @property
    def pass_rate(self) -> float | None:
        """Of what was sampled from s_0: the candidates where there are any, else its group; None where nothing was.

        Of completions alone whose number no outcome decided: those that are sampled after a look at the first ones, or
        because some candidate was correct, would bias it.
        """
        if self.candidates:
            return self.candidates.pass_rate
        return pass_rate(self.groups[0].completions[: self.n_fixed]) if self.groups else None

    @property
    def candidate_tokens(self) -> int:
        """Tokens sampled to find the first guidance."""
        return self.candidates.n_tokens if self.candidates else 0

    @property
    def probe_tokens(self) -> int:
        """Tokens sampled for the values of states alone."""
        return sum(group.n_tokens for group in self.probes)

    @property
    def untrained(self) -> tuple[StateGroup, ...]:
        """What was sampled and is never trained on."""
        return (*((self.candidates,) if self.candidates else ()), *self.probes)
