"""The line after the first rollout: which preset the map recommends."""

import pytest

from openrlhf_marge import Exploration
from openrlhf_marge.method.config import MargeConfig
from openrlhf_marge.method.presets import PRESETS
from openrlhf_marge.method.recommendation import recommendation

from factories import group


def explorations(*rates):
    return [
        Exploration(problem_id=str(i), groups=(group(rewards=(1.0,) * rate + (0.0,) * (4 - rate)),))
        for i, rate in enumerate(rates)
    ]


@pytest.mark.parametrize(
    ("rates", "said"),
    [
        (
            (0,) * 9 + (1,),
            "Of the first rollout's 10 problems 9 had no correct response from s_0; for such data the map "
            "(examples/map) recommends --marge.preset frontier",
        ),
        (
            (0,) * 8 + (1, 4),
            "Of the first rollout's 10 problems 8 had no correct response from s_0; for such data the map "
            "(examples/map) does not show any method above GRPO yet",
        ),
    ],
)
def test_the_line_goes_by_the_problems_without_a_correct_response(rates, said):
    assert recommendation(explorations(*rates), MargeConfig()) == said


def test_a_run_with_the_recommended_preset_is_told_so():
    with_it = MargeConfig(**PRESETS["frontier"])
    assert recommendation(explorations(0), with_it).endswith("recommends --marge.preset frontier, which this run has")


def test_nothing_is_said_of_nothing():
    assert recommendation([Exploration(problem_id="p", no_room=True)], MargeConfig()) is None
