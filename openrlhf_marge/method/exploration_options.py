"""Options of exploration: from where a problem is sampled, what guides, and where a guidance is cut into states."""

from __future__ import annotations

from dataclasses import dataclass

from openrlhf_marge.method.explorations import EXPLORATIONS
from openrlhf_marge.method.explorations.guided import PAPER_STEP_STATES
from openrlhf_marge.method.flags import option
from openrlhf_marge.method.guidance_rules import GUIDANCE_RULES
from openrlhf_marge.method.splitters import SPLITTERS


@dataclass(frozen=True, kw_only=True)
class ExplorationOptions:
    """Fields of ``MargeConfig``."""

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
