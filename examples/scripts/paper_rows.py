"""The rows and columns of Tables 1 and 2 of the paper, and what trains each row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

BASELINES = ("SFT", "DPO", "PPO", "REINFORCE++", "GRPO")
# The rows between the backbone and MARGE-RL, in the paper's order. MCTS-DPO on MetaMath-Mistral is not among them.
ROWS: Mapping[str, Sequence[str]] = {
    "qwen2_7b": (*BASELINES, "StepDPO-HF", "MARGE-DPO"),
    "metamath_7b": (*BASELINES, "MCTS-DPO"),
    "llama31_8b": BASELINES,
    "qwen25_7b": ("SFT", "DPO", "GRPO"),
    "qwen25_math_7b": ("PPO", "ACEMath-7B", "PRIME-EURUS-7B", "Qwen2.5-Math-7B-MARGE"),
}
# Row -> kind of the compare file, method of the launches.
TRAINED = {
    "PPO": ("ppo", "ppo"), "REINFORCE++": ("reinforce++", "reinforce_pp"), "GRPO": ("grpo", "grpo"),
    "MARGE-RL": ("marge", "marge"),
}  # fmt: skip
CHAINED = {"qwen2_7b": "REINFORCE++ on MARGE"}  # Sec. 4.2: 62.34 on MATH
LOOPED = {
    "SFT": ("sft", "sft"), "DPO": ("dpo", "dpo"), "MARGE-DPO": ("marge_dpo", "marge_dpo"),
    "MCTS-DPO": ("mcts_step_dpo", "mcts_step_dpo"),
}  # fmt: skip
DPO_SHARE = 1 / 16  # of MARGE's data at its best (Table 3)
DPO_SAMPLES = "2"  # responses of a problem, so that this share reaches about all problems in every iteration
TABLE_1 = (("math", "gsm8k", "college_math", "olympiadbench"), ("math500", "college_math", "olympiadbench"))
TABLE_2 = (("math", "math500", "college_math", "olympiadbench"), TABLE_1[1])
