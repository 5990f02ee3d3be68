"""The paper's figures from the data of runs (``cli/figures.py``): run folders -> RunData -> Plot -> PNG and CSV.

Imports no torch, ray, vllm or openrlhf, and matplotlib only in ``drawing.save``.
"""

from openrlhf_marge.figures.accuracy import reward_plot
from openrlhf_marge.figures.building import build_figures
from openrlhf_marge.figures.drawing import save
from openrlhf_marge.figures.fig3_5b_states import figure_3, values_of_log
from openrlhf_marge.figures.runs import RunData, count_completions, find_policies, read_run

__all__ = [
    "RunData",
    "build_figures",
    "count_completions",
    "figure_3",
    "find_policies",
    "read_run",
    "reward_plot",
    "save",
    "values_of_log",
]
