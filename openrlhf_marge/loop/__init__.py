"""Iterations of exploring, building training data and training on it: MARGE-DPO and its relatives (``cli/marge_dpo``).

Every stage is a command of its own, with the policy that the iteration before left; nothing here imports the stack.
"""

from openrlhf_marge.loop.commands import OWN_FLAGS, Flags, own_flag, stage_commands
from openrlhf_marge.loop.iterations import Loop, run_loop
from openrlhf_marge.loop.kinds import KINDS, LoopKind

__all__ = ["KINDS", "OWN_FLAGS", "Flags", "Loop", "LoopKind", "own_flag", "run_loop", "stage_commands"]
