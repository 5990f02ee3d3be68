"""The small frozen types that carry everything, from Problem, Guidance and State to Completion and StateGroup.

Token ids are tuples of the ids that the model really read or sampled; no stage decodes and encodes again.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass

from openrlhf_marge.seeds import stable_hash

TokenIds = tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """A prompt as the model sees it, with its gold answer (query x of the paper)."""

    id: str  # stable over episodes and restarts: a digest of prompt and label
    prompt: str
    label: str
    prompt_ids: TokenIds
    max_response_tokens: int  # room after the prompt: guidance prefix and completion together
    given_guidance: TokenIds | None = None  # a whole response from the data, s_0 included, for the first visit


@dataclass(frozen=True, slots=True, kw_only=True)
class Guidance:
    """The one response chosen for a problem (guidance hit, Sec. 3.3); it may be an incorrect one."""

    token_ids: TokenIds  # the whole response without EOS, s_0 included
    is_correct: bool
    pass_rate: float  # share of correct ones among the responses it was picked from; of a given one its own verdict
    visit: int = 0  # the visit of its problem that sampled it; its age is counted from there

    @property
    def id(self) -> str:
        """Digest of the token ids."""
        return f"{stable_hash(self.token_ids):016x}"


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """A prefix of the guidance (s_j); index 0 is s_0, which is empty or the CoT prefix."""

    index: int  # along its guidance
    prefix_ids: TokenIds
    position: float = 0.0  # share of the guidance that lies before it, s_0 not counted: 0 at s_0, below 1
    guidance: Guidance | None = None  # the first of its guidances; None where s_0 is sampled without any
    parent: int | None = None  # place of the state before it among the states of this visit; None for s_0
    segment: int = 0  # tokens between the state before it and this one; 0 for s_0
    is_fallback: bool = False  # cut by tokens, as its guidance has nothing that --marge.split cuts at


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """Tokens sampled from x + s_j up to EOS or the length limit, with their grade; only these are trained on."""

    token_ids: TokenIds  # EOS included when it was sampled
    reward: float  # in [0, 1]: the grade of state and completion together
    is_correct: bool
    truncated: bool = False  # stopped by the length limit
    log_probs: tuple[float, ...] | None = None  # of the rollout policy, one per token, when asked for
    extra_logs: tuple[tuple[str, float], ...] = ()  # further numbers that the reward function returned
    weight_versions: tuple[int, int] = (0, 0)  # weight updates before its first and before its last token
    # Of a strategy that finds them itself: one per token, None where a token is not trained on. None: by the group.
    # With None throughout it was sampled for its outcome alone.
    advantages: tuple[float | None, ...] | None = None

    def __post_init__(self) -> None:
        if not 0.0 <= self.reward <= 1.0:  # also false for NaN
            raise ValueError(f"a completion got the reward {self.reward}; rewards must lie in [0, 1]")
        if self.log_probs is not None and len(self.log_probs) != len(self.token_ids):
            raise ValueError(f"got {len(self.log_probs)} log-probs for {len(self.token_ids)} tokens")
        if self.advantages is not None and len(self.advantages) != len(self.token_ids):
            raise ValueError(f"got {len(self.advantages)} advantages for {len(self.token_ids)} tokens")
        if not all(map(math.isfinite, own := self.own_advantages)):
            raise ValueError(f"a completion got the advantages {own}; they must be finite")

    @property
    def own_advantages(self) -> list[float]:
        """Of its tokens that are trained on, where they have advantages of their own."""
        return [a for a in self.advantages or () if a is not None]

    @property
    def is_trained(self) -> bool:
        """Whether any of its tokens is trained on."""
        return self.advantages is None or bool(self.own_advantages)


def pass_rate(completions: Collection[Completion]) -> float:
    """Share of correct ones, by the grader's verdicts: a reward of 0.6 for a correct one does not make it less so."""
    return sum(c.is_correct for c in completions) / len(completions)


@dataclass(frozen=True, slots=True, kw_only=True)
class StateGroup:
    """All completions of one state of one problem: the unit within which advantages are computed (Eq. 4)."""

    id: int  # of problem, visit and state; travels with every completion
    problem: Problem
    state: State
    n_states: int  # states that this visit of the problem had, this one included
    completions: tuple[Completion, ...]
    value_gain: float = 0.0  # V(s_j) - V(s_{j-1}), the credit of the tokens in between (VinePPO); 0 for s_0

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
    guidance_kept: bool = False  # s_0 gave no suitable response, so the old guidance stays
    guidance_age: int | None = None  # visits since the guidance of this visit was sampled
    predicted_values: tuple[float, ...] = ()  # of the states after s_0, where they were chosen by a prediction

    def __post_init__(self) -> None:
        if self.no_guidance and not self.groups and self.candidates is None:
            raise ValueError(f"problem {self.problem_id} found no guidance; keep the responses that were tried")

    @property
    def pass_rate(self) -> float | None:
        """Of what was sampled from s_0: its group, else the candidates; None where nothing was."""
        first = self.groups[0] if self.groups else self.candidates
        return None if first is None else first.pass_rate

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
