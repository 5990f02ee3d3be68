"""MARGE (Gao et al., ICML 2025) for OpenRLHF: guided, step-level exploration for reinforcement learning of LLMs.

prompts -> guidance -> states -> completions -> groups -> advantages -> OpenRLHF's trainer

Only files in ``host`` import ray, vllm, deepspeed or openrlhf.
"""

from pathlib import Path

from openrlhf_marge.method.advantages import group_advantages
from openrlhf_marge.method.config import MargeConfig
from openrlhf_marge.method.explorer import Explorer
from openrlhf_marge.method.groups import Exploration, StateGroup
from openrlhf_marge.method.guidance import GuidancePool, pick_guidance
from openrlhf_marge.method.splitters import split_into_states
from openrlhf_marge.types import Completion, Guidance, Problem, State

__version__ = "0.1.0"
REWARD_FILE = str(Path(__file__).with_name("host") / "reward_func.py")
"""The package's reward function, for ``--reward.remote_url``."""
__all__ = [
    "REWARD_FILE",
    "Completion",
    "Exploration",
    "Explorer",
    "Guidance",
    "GuidancePool",
    "MargeConfig",
    "Problem",
    "State",
    "StateGroup",
    "group_advantages",
    "pick_guidance",
    "split_into_states",
]
