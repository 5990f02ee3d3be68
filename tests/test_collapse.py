"""Signs of a policy that no longer explores."""

import pytest

from openrlhf_marge import MargeConfig, State, StateGroup
from openrlhf_marge.method.collapse import REPEATED, collapse_metrics, collapsed, repeated
from openrlhf_marge.method.positions import percent_before
from openrlhf_marge.method.splitters import split_into_states

from factories import completion, guidance, letters, problem


def group(*ids, position=0.0, log_probs=None, number=1):
    """Every other completion is correct, beginning with the first."""
    completions = tuple(
        completion(float(i % 2 == 0), ids=tokens, log_probs=log_probs and log_probs[i]) for i, tokens in enumerate(ids)
    )
    state = State(index=0, prefix_ids=(), position=position)
    return StateGroup(id=number, problem=problem(), state=state, n_states=1, completions=completions)


def test_repetition_counts_completions_that_have_an_earlier_one():
    assert repeated([group((1, 2), (1, 2), (1, 2), (1, 2))]) == 1.0
    assert repeated([group((1, 2), (1, 3), (2, 3), (1,))]) == 0.0
    assert repeated([group((1, 2), (1, 2), (3,)), group((1, 2), (4,))]) == pytest.approx(1 / 3)  # groups apart
    assert repeated([group((1,))]) == repeated([]) == 0.0
    assert REPEATED not in collapse_metrics([group((1,))])


def test_length_by_outcome_and_entropy_by_position():
    early = group((1, 2), (1, 2, 3, 4), log_probs=[(-1.0, -3.0), (0.0, 0.0, 0.0, 0.0)])
    late = group((5,), (6, 7), position=0.45, log_probs=[(-0.5,), (-0.5, -0.5)], number=2)
    assert collapse_metrics([early, late]) == {
        REPEATED: 0.0,
        "marge/length_correct": 1.5,
        "marge/length_incorrect": 3.0,
        "marge/entropy/position_0": pytest.approx(4 / 6),
        "marge/entropy/position_40": 0.5,
    }
    assert not any("entropy" in name for name in collapse_metrics([group((1,), (2,))]))
    assert collapse_metrics([]) == {}


def test_a_collapse_is_said_above_nine_tenths():
    same = [(7, 8)] * 11
    assert collapsed([group(*same[:-1], (9,))]) is None  # 9 of 10 repeat
    said = collapsed([group(*same)])
    assert said.startswith("100% of the completions are the same as another one of their state")
    assert collapsed([]) is None


@pytest.mark.parametrize("length", [5, 6, 7, 8, 9, 101, 102, 103, 104, 160])
def test_the_states_of_five_even_cuts_are_in_a_fifth_each(length):
    """A cut is rounded down to a token, which most lengths put below its fifth."""
    states = split_into_states(problem(room=1000), [guidance(range(length))], (), MargeConfig(split="tokens"), letters)
    assert [percent_before(state) for state in states] == [0, 20, 40, 60, 80]


@pytest.mark.parametrize(("before", "percent"), [(1, 0), (18, 0), (20, 20), (39, 20), (99, 80)])
def test_other_states_are_in_the_fifth_that_they_are_in(before, percent):
    of = guidance(range(100))
    state = State(index=1, prefix_ids=of.token_ids[:before], position=before / 100, guidance=of)
    assert percent_before(state) == percent
