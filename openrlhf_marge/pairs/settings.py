"""The flags of ``build_pairs`` that builders read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from openrlhf_marge.method.flags import option


@dataclass(frozen=True, slots=True, kw_only=True)
class PairSettings:
    """What the tokenizer says of a response's end, and the flags of ``build_pairs``; lengths in tokens."""

    eos_id: int
    other_eos: Mapping[int, str] = field(default_factory=dict)  # further ids that end a response, with their texts
    min_value: float = option(
        0.3, "marge: lowest share of correct completions of a state [%(default)s]", low=0, high=1
    )
    max_value: float = option(
        0.7, "marge: highest share of correct completions of a state [%(default)s]", low=0, high=1
    )
    pairs_per_state: int = option(1, "marge, outcome: most pairs of a state [%(default)s]", low=1)
    closest_only: bool = option(
        False, "marge: of every visit of a problem only the state with the value closest to 0.5"
    )
    longest_common: bool = option(False, "marge, outcome: prefer pairs that share the most tokens at their start")
    from_all_states: bool = option(
        False, "sft: also the correct completions of later states, their guidance prefix included"
    )
    responses_per_state: int = option(
        0, "sft: most responses of a state, chosen at random; 0 for all [%(default)s]", low=0
    )
    hard_labels: bool = option(False, "prm: labels are true for a value above 0, not the values")
    step_label: str = option(
        r"Step \d+:", "step_dpo: regular expression of a step label, as --marge.step_label [%(default)r]"
    )
    dataset: str = option("marge", "step_dpo: text of the column dataset [%(default)r]")
    max_len: int | None = option(  # the paper's for DPO
        2048, "most tokens of prompt and response, 0 for no limit; as --data.max_len later [%(default)s]", low=0
    )
    seed: int = option(0, "seed of every choice [%(default)s]")
