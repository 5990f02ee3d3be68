"""Evaluation of graded responses: pass@k, maj@k, shares; the published data sets; the prompts of App. E.

Imports no torch, ray, vllm, openrlhf, transformers or datasets: ``cli/evaluate.py`` brings responses and data.
"""

from openrlhf_marge.evaluation.data_sets import DATA_SETS, DataSet
from openrlhf_marge.evaluation.estimates import Estimate, over_problems, pass_at_k
from openrlhf_marge.evaluation.majority import maj_at_k, vote_of
from openrlhf_marge.evaluation.metrics import Response, problem_metrics
from openrlhf_marge.evaluation.prompts import PROMPTS, check_input_template, choose_prompt, render_prompt

__all__ = [
    "DATA_SETS",
    "PROMPTS",
    "DataSet",
    "Estimate",
    "Response",
    "check_input_template",
    "choose_prompt",
    "maj_at_k",
    "over_problems",
    "pass_at_k",
    "problem_metrics",
    "render_prompt",
    "vote_of",
]
