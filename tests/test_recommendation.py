"""The line after the first rollout: which preset the map recommends."""

import pytest

from openrlhf_marge import Exploration
from openrlhf_marge.method import recommendation as module
from openrlhf_marge.method.config import MargeConfig
from openrlhf_marge.method.presets import PRESETS

from factories import group


def explorations(*rates):
    return [
        Exploration(problem_id=str(i), groups=(group(rewards=(1.0,) * rate + (0.0,) * (4 - rate)),))
        for i, rate in enumerate(rates)
    ]


def said(unsolved, preset):
    return (
        f"Of the first rollout's 10 problems {unsolved} had no correct response from s_0; for such data the map "
        f"(examples/map) {preset}"
    )


@pytest.mark.parametrize(
    ("rates", "line"),
    [
        ((0,) * 9 + (1,), said(9, "recommends --marge.preset frontier")),
        ((0,) * 8 + (1, 4), said(8, "does not show any method above GRPO yet")),
    ],
)
def test_the_line_goes_by_the_problems_without_a_correct_response(rates, line, monkeypatch):
    monkeypatch.setattr(module, "SHOWN", ((0.9, "frontier"),))
    assert module.recommendation(explorations(*rates), MargeConfig()) == line


def test_a_run_with_the_recommended_preset_is_told_so(monkeypatch):
    monkeypatch.setattr(module, "SHOWN", ((0.9, "frontier"),))
    line = module.recommendation(explorations(*(0,) * 10), MargeConfig(**PRESETS["frontier"]))
    assert line == said(10, "recommends --marge.preset frontier, which this run has")


@pytest.mark.parametrize("rates", [(0,) * 10, (4,) * 10])
def test_nothing_is_recommended_that_the_map_does_not_show(rates):
    line = module.recommendation(explorations(*rates), MargeConfig())
    assert line == said(sum(rate == 0 for rate in rates), "does not show any method above GRPO yet")


def test_nothing_is_said_of_nothing():
    assert module.recommendation([Exploration(problem_id="p", no_room=True)], MargeConfig()) is None
