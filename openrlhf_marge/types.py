"""The small frozen types that carry everything, from Problem, Guidance and State to Completion.

``method/groups.py`` has the groups of completions.

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
