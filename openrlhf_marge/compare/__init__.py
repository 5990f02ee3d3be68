"""Several methods under one budget -> one table: the compare file, its runs, and statistics of their results.

Imports no ray, vllm, torch or openrlhf; ``cli/compare.py`` runs the methods.
"""

from openrlhf_marge.compare.finished import Finished, read_run
from openrlhf_marge.compare.plan import Plan, PlannedRun
from openrlhf_marge.compare.reading import read_plan
from openrlhf_marge.compare.results import Results
from openrlhf_marge.compare.statistics import Scores

__all__ = ["Finished", "Plan", "PlannedRun", "Results", "Scores", "read_plan", "read_run"]
