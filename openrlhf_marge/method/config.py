"""MargeConfig: every option of the method, its flag ``--marge.<field>``, its range and its default (the paper's)."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from openrlhf_marge.method.advantages import ADVANTAGES
from openrlhf_marge.method.explorations import EXPLORATIONS
from openrlhf_marge.method.explorations.guided import PAPER_STEP_STATES, guided_states
from openrlhf_marge.method.explorations.traits import Traits, traits_of
from openrlhf_marge.method.flags import check_values, option
from openrlhf_marge.method.frontier_options import FrontierOptions
from openrlhf_marge.method.guidance_rules import GUIDANCE_RULES
from openrlhf_marge.method.mcts_options import MctsOptions, check_mcts, check_searched
from openrlhf_marge.method.presets import PRESETS, check_frontier
from openrlhf_marge.method.splitters import SPLITTERS
from openrlhf_marge.method.step_options import StepOptions, check_segments, check_steps
from openrlhf_marge.rewards.domains import MATH, REWARDS

PREFIX = "marge."  # of the flags
LEAST_ADAPTIVE = 4  # completions per state, half of which are drawn first


@dataclass(frozen=True, kw_only=True)
class MargeConfig(MctsOptions, FrontierOptions, StepOptions):
    """Options of guided exploration; completions per state are OpenRLHF's own ``--rollout.n_samples_per_prompt``."""

    explore: str = option(
        "guided",
        "'guided', from every state of a guidance, 'vanilla', everything from s_0 (Sec. 4.3.2), 'frontier', from "
        "s_0, and where a problem is hard or nearly saturated from the state whose success is nearest to even, "
        "'vineppo', from s_0, each step weighed by completions of the states around it (VinePPO), or a tree, which "
        "branches after every segment ('spo_tree', SPO), where the policy was least sure ('tree_rl', TreeRL) or where "
        "a search goes ('mcts_dpo', MCTS-DPO, for pairs alone)",
        choices=EXPLORATIONS,
        listed=False,
    )
    vanilla_match: str = option(
        "samples",
        "what --marge.explore vanilla has in common with guided exploration of the same problem: 'samples' (Table 3) "
        "or expected generated 'tokens' (Table 5)",
        choices=("samples", "tokens"),
    )
    guidance_rule: str = option(
        "preference",
        "which responses may guide: 'preference' by the pass rate (Sec. 3.3), 'random', 'correct', or 'fixed', by "
        "preference once and never again (Table 4), or 'incorrect' (Self-Explore)",
        choices=GUIDANCE_RULES,
    )
    guidance_source: str = option(
        "carried",
        "where guidance comes from: 'carried' from the s_0 completions of the last visit (Algorithm 1), or 'fresh' "
        "from those of this very visit, which are sampled first; then no candidates are needed",
        choices=("carried", "fresh"),
    )
    guidance_threshold: float = option(
        0.5,
        "pass rate above which a problem is easy and gets an incorrect guidance, otherwise a correct one (Sec. 3.3)",
        low=0.0,
        high=1.0,
    )
    guide_when: str = option(
        "always",
        "'always', or 'hard': a problem whose newest pass rate at s_0 is above --marge.guidance_threshold is sampled "
        "from s_0 only (where Prop. C.2 does not promise more pairs)",
        choices=("always", "hard"),
    )
    n_candidates: int = option(
        32, "responses sampled from s_0 for a problem without guidance, from which one is picked (Sec. 4.1)", low=1
    )
    n_guidances: int = option(1, "guidances per problem; common prefixes are one state (Remark C.4)", low=1)
    split: str = option(
        "step",
        "how guidance is cut into states (App. B.1): 'step' right after every step label, 'tokens' evenly by count, "
        "or an installed splitter's name",
        choices=SPLITTERS,
        listed=False,
    )
    n_states: int = option(
        5, "states per guidance with --marge.split tokens, and where a guidance has no step label (App. B.1)", low=1
    )
    max_states: int | None = option(None, "most states per guidance; more are thinned evenly, s_0 stays", low=1)
    step_label: str = option(r"Step \d+:", "regular expression of a step label, for --marge.split step (App. E)")
    cot_prefix: str = option(
        "Let's think step by step.\n\nStep 1:",
        "text that every response starts with under --marge.split step; it is s_0, never trained on (App. E)",
    )
    stop: tuple[str, ...] = option(
        (),
        "texts at which a completion ends, for models that go on after their answer; it counts as finished, is graded "
        "and guides without the text, and is trained to write it: its tokens were sampled as those before it",
    )
    state_budget: str = option(
        "all",
        "'all': the same number of completions from every state (Algorithm 1), or 'adaptive': states whose first half "
        "is all correct or all wrong leave the second half to the others (Prop. C.1, App. G)",
        choices=("all", "adaptive"),
    )
    expected_states: float | None = option(
        None,
        "states per problem, of all its guidances, that the learning-rate schedule counts on; None: for each guidance "
        f"n_states with --marge.split tokens, {PAPER_STEP_STATES} (Qwen2-7B-Instruct, App. B.1) with step",
        low=0.01,  # problems without guidance bring none
    )
    advantage: str = option(
        "group_norm",
        "advantage within a state's group: 'group_norm' (r - mean) / std (Eq. 4), 'mean' r - mean (Dr. GRPO), "
        "'leave_one_out' r - mean of the others (RLOO), or 'vine': r - mean for a completion, and for the guidance "
        "tokens between two states the difference of their values (VinePPO)",
        choices=ADVANTAGES,
    )
    prefix_credit: str = option(
        "none",
        "'value_gain': with any --marge.advantage, also train the guidance tokens between two states on the "
        "difference of their values, as vine does",
        choices=("none", "value_gain"),
    )
    reference: str = option(
        "iteration",
        "reference policy of the KL: 'iteration', the policy at the start of the iteration (Sec. 3.4; needs no "
        "reference model, KL in the loss), 'episode', at the start of the episode, or 'initial', OpenRLHF's",
        choices=("iteration", "episode", "initial"),
    )
    reward: str = option(
        MATH,
        "what grades the responses: 'math', the package's grader of final answers, 'countdown', expressions that must "
        "reach a target, or an installed reward's name (entry-point group openrlhf_marge.rewards)",
        choices=REWARDS,
        listed=False,
    )
    guidance_key: str | None = option(
        None, "data column with a response to be the first guidance, for example the authors' 'guidance hit'"
    )
    skip_saturated: bool = option(
        False,
        "leave groups whose completions all have the same reward out of the training batches, where they would bring "
        "the gradient of the KL term alone; the learning rate moves on as if they had been trained on",
    )
    max_age: int | None = option(
        None,
        "leave groups out of the training batches whose age is above this many weight updates (0: train only on what "
        "the present policy sampled); the age of a group is the number of updates that the policy it is to train has "
        "made since the first token of its oldest trained completion, so groups that wait for a whole batch, rollouts "
        "of --train.async_enable and completions of partial rollouts age; the learning rate moves on as with "
        "--marge.skip_saturated; None: groups of any age are trained on",
        low=0,
    )
    share_prefix: bool = option(
        False,
        "compute tokens that completions have in common (prompt, guidance) once in the policy's and the reference's "
        "passes; micro-batches of --train.dynamic_batch_enable then count distinct tokens",
    )
    dump_dir: str | None = option(None, "folder for every trained completion, one Parquet file per rollout")
    replay_dir: str | None = option(None, "train from the Parquet files of this folder, nothing is generated")

    preset: str | None = option(
        None,
        "sets other flags by name, each of which may be given besides: 'paper', the defaults, or 'frontier', from s_0 "
        "and the states whose success is about even",
        choices=PRESETS,
    )

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
