"""Exploration of a data set without training (``cli/explore.py``), kept on disk so that it can stop and go on.

Imports no ray, vllm, deepspeed or openrlhf: engines are behind ``visit.Sampler``.
"""

from openrlhf_marge.exploration.folder import ExplorationFolder, read_pool
from openrlhf_marge.exploration.journal import Journal
from openrlhf_marge.exploration.sampler import JournaledSampler
from openrlhf_marge.exploration.settings import check_settings, only_one, write_settings
from openrlhf_marge.exploration.totals import Totals
from openrlhf_marge.exploration.work import explore_all

__all__ = [
    "ExplorationFolder",
    "Journal",
    "JournaledSampler",
    "Totals",
    "check_settings",
    "explore_all",
    "only_one",
    "read_pool",
    "write_settings",
]
