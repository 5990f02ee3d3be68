"""MargeConfig: every option of the method, and what goes together; each field is a flag ``--marge.<field>``.

The options stand in files of their own by what they are for; defaults are the paper's.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from openrlhf_marge.method.exploration_options import ExplorationOptions
from openrlhf_marge.method.explorations import EXPLORATIONS
from openrlhf_marge.method.explorations.guided import guided_states
from openrlhf_marge.method.explorations.traits import Traits, traits_of
from openrlhf_marge.method.flags import check_values
from openrlhf_marge.method.frontier_options import FrontierOptions
from openrlhf_marge.method.guidance_rules import GUIDANCE_RULES
from openrlhf_marge.method.mcts_options import MctsOptions, check_mcts, check_searched
from openrlhf_marge.method.presets import check_frontier
from openrlhf_marge.method.step_options import StepOptions, check_segments, check_steps
from openrlhf_marge.method.training_options import TrainingOptions

PREFIX = "marge."  # of the flags
LEAST_ADAPTIVE = 4  # completions per state, half of which are drawn first


# --help begins with the options of the last one.
@dataclass(frozen=True, kw_only=True)
class MargeConfig(MctsOptions, FrontierOptions, StepOptions, TrainingOptions, ExplorationOptions):
    """Options of guided exploration; completions per state are OpenRLHF's own ``--rollout.n_samples_per_prompt``."""

    def __post_init__(self) -> None:
        check_values(self, MargeConfig, PREFIX)
        check_frontier(self)
        check_steps(self)
        check_mcts(self)
        if (states := self.traits.states) is not None and not 0 < states(self) < math.inf:
            raise ValueError(
                f"--marge.explore {self.explore} counts on {states(self)} states a problem; mend its traits"
            )
        if "" in self.stop:
            raise ValueError("--marge.stop has an empty text, at which every completion would end; leave it out")
        if self.explore == "vanilla" and self.state_budget == "adaptive":
            raise ValueError(
                "--marge.explore vanilla cannot match --marge.state_budget adaptive, whose completions depend on "
                "outcomes of states that it does not see; leave one of them out"
            )
        if GUIDANCE_RULES.load(self.guidance_rule).picks_once and self.guidance_source == "fresh":
            raise ValueError(
                f"--marge.guidance_source fresh picks at every visit, --marge.guidance_rule {self.guidance_rule} once"
            )
        try:
            re.compile(self.step_label)
        except re.error as e:
            raise ValueError(f"--marge.step_label {self.step_label!r} is not a regular expression: {e}") from e

    def check_completions(self, n: int, max_len: int, max_new_tokens: int | None) -> None:
        """ValueError when so few completions per state leave nothing to decide by, or s_0 nothing, or they are short.

        ``max_len`` and ``max_new_tokens`` are the most tokens of prompt and response, and of a response.
        """
        longest = min(max_len, max_new_tokens or max_len)
        check_segments(self, longest)
        check_searched(self, n, longest)
        if self.state_budget == "adaptive" and n < LEAST_ADAPTIVE:
            raise ValueError(
                f"--marge.state_budget adaptive does not work with --rollout.n_samples_per_prompt {n}: half of them "
                f"are drawn first, and one completion tells nothing; set it to at least {LEAST_ADAPTIVE}"
            )
        if self.frontier_probe >= n:
            raise ValueError(
                f"--marge.frontier_probe {self.frontier_probe} is not below --rollout.n_samples_per_prompt {n}, of "
                "which it is what s_0 keeps; lower it"
            )

    @property
    def traits(self) -> Traits:
        """What the exploration says of itself."""
        return traits_of(EXPLORATIONS.load(self.explore))

    @property
    def credits_prefix(self) -> bool:
        """Whether the guidance tokens between two states are trained on."""
        return self.advantage == "vine" or self.prefix_credit == "value_gain"

    @property
    def asks_the_model(self) -> bool:
        """Whether the exploration has the model judge solutions."""
        return self.traits.asks_the_model(self)

    @property
    def leaves_out(self) -> bool:
        """Whether some groups are left out of the training batches, over which the learning rate moves on."""
        return self.skip_saturated or self.max_age is not None

    @property
    def needs_log_probs(self) -> bool:
        """Whether the exploration reads the log-probs of sampled tokens."""
        return self.traits.reads_log_probs

    @property
    def scheduled_states(self) -> float:
        """States per problem, each with its completions, that the learning-rate schedule counts on.

        Where the exploration cannot know them, those of s_0 alone if it weighs tokens, else those of a guidance.
        """
        if self.expected_states is not None:
            return self.expected_states
        if self.traits.states is not None:
            return self.traits.states(self)
        return 1.0 if self.traits.weighs_tokens else guided_states(self)
