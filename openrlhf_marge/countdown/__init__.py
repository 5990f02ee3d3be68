"""A task with many right paths: reach a target with given numbers. The small model of arithmetic learns it, too."""

from pathlib import Path

REWARD_FILE = str(Path(__file__).with_name("reward_func.py"))
"""OpenRLHF's reward function of this task, for ``--reward.remote_url`` of runs without MARGE."""
