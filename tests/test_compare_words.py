"""The sentences under the difference table, in each of their forms."""

import pytest

from openrlhf_marge.compare import Results, read_plan
from openrlhf_marge.compare.statistics import Difference, Scores
from openrlhf_marge.compare.words import sentences

FILE = """
seeds = [0, 1, 2]
baseline = "GRPO"
evaluate.data = ["math500"]
[methods.GRPO]
model = "G$seed"
"""
COLUMN = ("math500", "pass@1")


@pytest.fixture
def said(tmp_path):
    """(margins and values in points by method, those that Holm leaves, seeds) -> sentences."""
    (tmp_path / "file.toml").write_text(FILE)
    plan = read_plan(tmp_path / "file.toml", tmp_path)

    def said(differences, shown=(), n_seeds=3, columns=(COLUMN,)):
        runs = dict.fromkeys(range(n_seeds), Scores((), ()))
        results = Results(plan, {name: dict.fromkeys(columns, runs) for name in ("GRPO", *differences)}, [])
        results.__dict__["differences"] = {
            (name, column): Difference(value / 100, None if margin is None else margin / 100)
            for name, (value, margin) in differences.items()
            for column in columns
        }
        results.__dict__["shown"] = {(name, column) for name in shown for column in columns}
        return sentences(results)

    return said


def test_one_method(said):
    assert said({"MARGE": (-8.04, 15.65)}) == [
        "MARGE is below GRPO by 8.0 points; the interval [-23.7, +7.6] does not leave 0 out, so the 3 seeds show no "
        "difference."
    ]
    assert said({"MARGE": (2.1, 1.8)}) == ["MARGE is above GRPO by 2.1 points [+0.3, +3.9]."]
    assert said({"MARGE": (-2.1, 1.8)}) == ["MARGE is below GRPO by 2.1 points [-3.9, -0.3]."]
    assert said({"MARGE": (0, 1.8)}) == [
        "MARGE is level with GRPO; the interval [-1.8, +1.8] does not leave 0 out, so the 3 seeds show no difference."
    ]


def test_one_seed_says_nothing_of_others(said):
    assert said({"MARGE": (2.1, 1.8)}, n_seeds=1) == [
        "MARGE is above GRPO by 2.1 points [+0.3, +3.9], over the problems of one seed."
    ]
    assert said({"MARGE": (2.1, 3)}, n_seeds=1) == [
        "MARGE is above GRPO by 2.1 points; the interval [-0.9, +5.1] does not leave 0 out, so one seed shows no "
        "difference."
    ]
    assert said({"MARGE": (100, None)}, n_seeds=1) == [
        "MARGE is above GRPO by 100.0 points, with nothing that varies to make an interval of, so one seed shows no "
        "difference."
    ]


def test_several_methods_are_asked_at_once(said):
    assert said({"MARGE": (2.1, 1.8), "PPO": (9, 2), "RLOO": (1, 2)}, shown=["PPO"]) == [
        "MARGE is above GRPO by 2.1 points [+0.3, +3.9], but not with all 3 differences asked at once (Holm), so the "
        "3 seeds show no difference.",
        "PPO is above GRPO by 9.0 points [+7.0, +11.0], also with all 3 differences asked at once (Holm).",
        "RLOO is above GRPO by 1.0 points; the interval [-1.0, +3.0] does not leave 0 out, so the 3 seeds show no "
        "difference.",
    ]


def test_what_is_small_is_not_shown_as_zero(said):
    assert said({"MARGE": (2.04, 2.01)}) == ["MARGE is above GRPO by 2.0 points [+0.03, +4.0]."]
    assert said({"MARGE": (-0.04, 1)}) == [
        "MARGE is below GRPO by 0.04 points; the interval [-1.0, +1.0] does not leave 0 out, so the 3 seeds show no "
        "difference."
    ]


def test_of_several_metrics_the_first_of_every_data_set_is_said(said):
    columns = (COLUMN, ("math500", "pass@64"), ("gsm8k", "pass@1"))
    assert said({"MARGE": (2.1, 1.8)}, columns=columns) == [
        "math500: MARGE is above GRPO by 2.1 points [+0.3, +3.9].",
        "gsm8k: MARGE is above GRPO by 2.1 points [+0.3, +3.9].",
    ]
