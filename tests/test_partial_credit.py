"""Rewards between 0 and 1: verdicts decide what a response is, rewards what it is worth.

Seven of eight responses are correct, each with a reward of 0.4 beside a verdict of its own: the mean reward is 0.35.
"""

import asyncio
from collections import Counter
from dataclasses import replace

import pytest

from openrlhf_marge import Completion, MargeConfig
from openrlhf_marge.exploration.totals import totals_of
from openrlhf_marge.method.advantages import group_advantages
from openrlhf_marge.method.guidance import pick_guidance
from openrlhf_marge.method.metrics import exploration_metrics
from openrlhf_marge.pairs import BUILDERS
from openrlhf_marge.pairs.settings import PairSettings
from openrlhf_marge.seeds import generator

from factories import EOS, ScriptedModel, explorer, group, problem

SEVEN_OF_EIGHT = tuple(
    Completion(token_ids=(100 + i, 6, 7, EOS), reward=0.4 if i else 0.0, is_correct=i > 0) for i in range(8)
)


@pytest.mark.parametrize(
    ("rule", "correct"), [("preference", {False}), ("fixed", {False}), ("correct", {True}), ("incorrect", {False})]
)
def test_a_problem_that_is_mostly_solved_is_easy_whatever_its_solutions_are_worth(rule, correct):
    picked = pick_guidance(SEVEN_OF_EIGHT, (), frozenset({EOS}), MargeConfig(guidance_rule=rule), generator(0))
    assert {g.is_correct for g in picked} == correct and {g.pass_rate for g in picked} == {0.875}


def test_the_gate_and_the_metrics_go_by_verdicts_and_the_value_by_rewards():
    chain = explorer(ScriptedModel(lambda p, prefix, n: list(SEVEN_OF_EIGHT)), n=8, n_candidates=8, guide_when="hard")
    result = asyncio.run(chain.explore(problem()))
    assert len(result.groups) == 1
    assert result.groups[0].value == pytest.approx(0.35)
    metrics = exploration_metrics([result])
    assert metrics["marge/pass_rate"] == 0.875
    assert totals_of([result]).pass_rates == 0.875


def test_the_advantage_is_of_the_rewards_eq_4():
    advantages = group_advantages([c.reward for c in SEVEN_OF_EIGHT], [0] * 8, "mean")
    assert advantages == pytest.approx([-0.35] + [0.05] * 7)


@pytest.mark.parametrize(("most", "pairs"), [(0.7, 0), (0.9, 1)])
def test_the_range_of_marge_dpo_is_one_of_verdicts_which_make_its_pairs(most, pairs):
    left_out = Counter()
    state = replace(group(), completions=SEVEN_OF_EIGHT)
    drafts = BUILDERS.load("marge").drafts((state,), PairSettings(eos_id=EOS, max_value=most), left_out)
    assert len(list(drafts)) == pairs
    assert left_out == ({} if pairs else {"value_out_of_range": 1})
