"""``--marge.explore frontier``: where it samples, what it remembers, and what it predicts."""

import asyncio
import sys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_config import parse

from openrlhf_marge import GuidancePool, MargeConfig
from openrlhf_marge.method.advantages import group_advantages
from openrlhf_marge.method.arguments import preset_sentence
from openrlhf_marge.method.explorations.frontier import wanted_verdict
from openrlhf_marge.method.metrics import exploration_metrics
from openrlhf_marge.method.success import Outcomes, predicted, remembered
from openrlhf_marge.runs.checkpoints import CheckpointStore

from factories import EOS, ScriptedModel, completion, explorer, problem

# The gain is as low as it gets, so that the tests need no many completions; those of the gain itself set it.
FLAGS = {"explore": "frontier", "guidance_source": "fresh", "n_states": 5, "frontier_gain": 0.0}
TENTHS = [i / 10 for i in range(1, 10)]


def outcomes(n_correct, n, position=0.0, on_correct=None, visit=0) -> Outcomes:
    return Outcomes(visit=visit, position=position, on_correct=on_correct, n_correct=n_correct, n=n)


def best(seen, on_correct=True, visit=0) -> float:
    """The tenth of the guidance that tells most."""
    return TENTHS[int(predicted(seen, TENTHS, on_correct, visit, 0.5)[1].argmax())]


def test_the_state_with_even_success_lies_later_the_harder_the_problem_is():
    hard = [best([outcomes(k, 80)]) for k in (0, 1, 8, 40)]
    assert hard == sorted(hard, reverse=True) == [0.9, 0.8, 0.6, 0.1]
    saturated = [best([outcomes(k, 80)], on_correct=False) for k in (80, 79, 72, 40)]
    assert saturated == hard  # failure along an incorrect guidance is what success is along a correct one


def test_what_a_state_showed_moves_the_next_one():
    s0 = outcomes(1, 8)
    assert best([s0]) == 0.5
    assert best([s0, outcomes(4, 4, 0.7, True)]) == 0.3
    assert best([s0, outcomes(8, 8, 0.4, True), outcomes(4, 4, 0.7, True)]) == 0.2
    assert best([s0, outcomes(0, 4, 0.7, True)]) == 0.9
    assert best([s0, outcomes(0, 4, 0.7, False)]) == 0.5  # another guidance's says nothing
    # An incorrect guidance after which nothing is right any more is left earlier.
    assert best([outcomes(8, 8)], False) > best([outcomes(8, 8), outcomes(0, 4, 0.5, False)], False)


def test_old_visits_count_less_and_are_forgotten():
    old, new = outcomes(0, 8), outcomes(4, 8, visit=4)
    value = [predicted([old, new], [0.0], True, 4, memory)[0][0] for memory in (0.0, 0.5, 1.0)]
    assert value == sorted(value, reverse=True)
    assert value[0] == predicted([new], [0.0], True, 4, 1.0)[0][0]
    assert remembered([old, new], 4, 0.5) == (old, new) and remembered([old, new], 5, 0.5) == (new,)


a_state = st.tuples(st.integers(0, 8), st.floats(0, 0.99), st.sampled_from([None, True, False]))


@given(st.lists(a_state, max_size=6), st.booleans())
def test_values_are_monotone_along_a_guidance(seen, on_correct):
    found = [outcomes(k, 8, 0.0 if side is None else position, side) for k, position, side in seen]
    values, spread = predicted(found, TENTHS, on_correct, 0, 0.5)
    assert (np.diff(values) * (1 if on_correct else -1) > 0).all()
    assert ((values > 0) & (values < 1)).all() and ((spread > 0) & (spread <= 0.25)).all()


def script(s0, later=(1.0, 0.0, 1.0, 0.0)):
    """Rewards of s_0 by visit, and of any other state; a response has ten tokens of its own."""
    visits = iter(s0)

    def answer(asked, prefix, n):
        rewards = next(visits) if not prefix else later
        start = 10 if len(prefix) == 0 else 40
        return [completion(r, ids=(*range(start + 20 * i, start + 20 * i + 10), EOS)) for i, r in enumerate(rewards)]

    return ScriptedModel(answer)


def visits(model, n, **config):
    chain = explorer(model, n=4, **(FLAGS | config))

    async def all_visits():
        return [await chain.explore(problem()) for _ in range(n)]

    return asyncio.run(all_visits()), chain.pool


ONE, NONE, ALL, HALF = (0.0, 1.0, 0.0, 0.0), (0.0,) * 4, (1.0,) * 4, (1.0, 0.0, 1.0, 0.0)
THREE = (1.0, 1.0, 0.0, 1.0)


def test_a_hard_problem_is_continued_from_its_correct_response():
    model = script([ONE])
    (found,), pool = visits(model, 1)
    s0, state = (g.state for g in found.groups)
    assert [len(g.completions) for g in found.groups] == [4, 4]
    assert s0.prefix_ids == () and s0.index == 0 and s0.guidance == state.guidance
    assert state.guidance.token_ids == tuple(range(30, 40)) and state.guidance.is_correct
    assert (state.prefix_ids, state.index, state.position) == (tuple(range(30, 34)), 2, 0.4)
    assert (state.parent, state.segment) == (0, 4)
    assert found.groups[1].value_gain == 0  # that a response of s_0 may guide says that it is no independent sample
    assert found.guidance_age == 0 and not found.guidance_kept
    assert found.predicted_values == pytest.approx((0.4987,), abs=1e-4)
    metrics = exploration_metrics([found])
    assert metrics["marge/frontier_states"] == 1 and metrics["marge/frontier_value"] == 0.5
    assert [g.is_correct for g in pool.get("p")] == [True, False]


def test_the_stored_response_serves_where_the_group_has_none():
    (first, second), pool = visits(script([ONE, NONE]), 2)
    assert second.groups[1].state.guidance == first.groups[1].state.guidance
    assert second.guidance_kept and second.guidance_age == 1
    assert exploration_metrics([second])["marge/guidance_kept"] == 1
    assert [(o.n_correct, o.n, o.position) for o in pool.seen("p")] == [
        (1, 4, 0.0), (2, 4, 0.4), (0, 4, 0.0), (2, 4, second.groups[1].state.position)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("s0", "n_states"),
    [
        ([ONE], [0]),  # one of four: s_0 tells nearly as much as any state
        ([ONE, NONE, NONE], [0, 0, 1]),  # none of eight after it, so that the stored response pays
        ([NONE, NONE, ONE, NONE], [0, 0, 0, 1]),  # earlier visits are asked, too
        ([THREE, ALL, ALL, ALL], [0, 0, 1, 1]),  # as failures of a nearly saturated problem do
    ],
)
def test_a_state_is_sampled_where_it_tells_twice_as_much_as_s0(s0, n_states):
    found, _ = visits(script(s0), len(s0), frontier_gain=MargeConfig().frontier_gain)
    assert MargeConfig().frontier_gain == 2
    assert [len(e.groups) - 1 for e in found] == n_states
    assert not any(e.no_guidance for e in found if e.pass_rate)


@pytest.mark.parametrize(("s0", "easy"), [(THREE, 0.85), (HALF, 0.85)])
def test_in_between_there_is_s0_alone(s0, easy):
    (found,), _ = visits(script([s0]), 1, frontier_hard=0.25, frontier_easy=easy)
    assert [g.state.prefix_ids for g in found.groups] == [()] and not found.no_guidance
    assert found.groups[0].state.guidance is None and found.guidance_age is None


def test_a_saturated_problem_is_continued_from_a_failure():
    (_, found), _ = visits(script([THREE, ALL]), 2)
    assert [g.state.guidance.is_correct for g in found.groups] == [False, False]
    assert found.guidance_age == 1


def test_a_problem_without_such_a_response_has_s0_alone_and_is_counted():
    (found,), _ = visits(script([NONE]), 1)
    assert len(found.groups) == 1 and found.no_guidance
    (found,), _ = visits(script([ALL]), 1)
    assert len(found.groups) == 1 and found.no_guidance


@pytest.mark.parametrize(("rule", "groups"), [("correct", [2, 2, 1]), ("incorrect", [1, 1, 2]), ("random", [2, 2, 2])])
def test_the_guidance_rule_leaves_out_a_side(rule, groups):
    found, _ = visits(script([ONE, NONE, ALL]), 3, guidance_rule=rule)
    assert [len(e.groups) for e in found] == groups
    assert not any(e.no_guidance for e in found)


def test_rescue_samples_come_from_s0_and_may_guide():
    model = script([NONE, (0.0, 1.0)])
    (found,), _ = visits(model, 1, rescue_samples=2)
    assert [len(g.completions) for g in found.groups] == [6, 4]
    assert model.calls[:2] == [("p", (), 4), ("p", (), 2)]
    assert found.pass_rate == 0  # of the first four: those that were all wrong alone have more
    assert found.groups[1].state.guidance.pass_rate == 0
    # Not where a correct response is known, nor where one was found.
    found, _ = visits(script([ONE, NONE]), 2, rescue_samples=2)
    assert [len(e.groups[0].completions) for e in found] == [4, 4]


def solved_once():
    """One of four correct responses at the first visit, none at the later ones; half are correct after every state."""
    full = {0: ONE, 1: NONE, 2: NONE}

    def answer(asked, prefix, n):
        rewards = full.pop(min(full), None) if not prefix and full else [0.0] * n
        rewards = [float(i % 2) for i in range(n)] if prefix else rewards
        return [completion(r, ids=(*range(10 + 9 * i, 18 + 9 * i), EOS)) for i, r in enumerate(rewards)]

    return ScriptedModel(answer)


def test_completions_move_where_a_state_tells_more_than_s0():
    found, pool = visits(solved_once(), 4, frontier_probe=1, frontier_gain=2.0)
    assert [[len(g.completions) for g in e.groups] for e in found] == [[4], [4], [4, 4], [1, 7]]
    assert [o.n for o in pool.seen("p") if o.position == 0] == [4, 4, 4, 1]
    assert all(g.state.guidance.is_correct for e in found for g in e.groups[1:])


def test_a_probe_does_not_decide_alone():
    s0 = iter((ONE, (1.0,)))

    def answer(asked, prefix, n):
        rewards = next(s0) if not prefix else [float(i % 2) for i in range(n)]
        return [completion(r, ids=(*range(10 + 9 * i, 18 + 9 * i), EOS)) for i, r in enumerate(rewards)]

    (_, probed), _ = visits(ScriptedModel(answer), 2, frontier_probe=1, frontier_hard=0.5, frontier_easy=0.9)
    assert [len(g.completions) for g in probed.groups] == [1, 7]
    assert probed.groups[0].pass_rate == 1.0  # of the one completion, where the earlier visit saw 1 of 4
    assert probed.groups[1].state.guidance.is_correct


def test_nothing_moves_to_a_response_of_the_wrong_kind():
    """The incorrect one is continued where the problem is nearly saturated, whatever its states would tell."""
    found, _ = visits(script([NONE] * 4, NONE * 2), 4, frontier_probe=1, frontier_gain=0.0)
    assert [[len(g.completions) for g in e.groups] for e in found] == [[4]] * 4


def test_of_states_that_tell_as_much_the_earlier_is_chosen(monkeypatch):
    even = lambda visit, seen, states, on_correct: (np.full(len(states), 0.1), np.full(len(states), 0.09))  # noqa: E731
    monkeypatch.setattr(sys.modules[wanted_verdict.__module__], "_predicted", even)
    (found,), _ = visits(script([ONE]), 1)
    assert [g.state.index for g in found.groups] == [0, 1]


def test_completions_that_move_are_divided_among_the_states():
    found, _ = visits(solved_once(), 4, frontier_probe=1, frontier_gain=2.0, frontier_states=2)
    assert [len(g.completions) for g in found[-1].groups] == [1, 4 + 2, 4 + 1]


def test_several_states_keep_their_order_and_parents():
    (found,), _ = visits(script([ONE]), 1, frontier_states=2)
    states = [g.state for g in found.groups]
    assert [s.parent for s in states] == [None, 0, 1]
    assert [len(s.prefix_ids) for s in states] == sorted({len(s.prefix_ids) for s in states})
    assert sum(s.segment for s in states) == len(states[-1].prefix_ids)


def test_given_guidance_is_kept_for_a_hard_problem():
    chain = explorer(script([NONE]), n=4, **FLAGS)
    found = asyncio.run(chain.explore(problem(given=(*range(60, 70), EOS))))
    assert found.groups[1].state.guidance.token_ids == tuple(range(60, 70))
    assert [g.is_correct for g in chain.pool.get("p")] == [True, False]


def test_what_was_seen_is_in_the_checkpoint(tmp_path):
    _, pool = visits(script([ONE]), 1)
    from openrlhf_marge.host.rollout.records import RolloutRecord

    record = RolloutRecord(pool=pool.state_dict(), waiting=(), rollouts=1, episode=0)
    store = CheckpointStore(tmp_path)
    store.write_state(1, record)
    again = GuidancePool()
    again.update(store.read_state(1, RolloutRecord).pool)
    assert again.seen("p") == pool.seen("p") and len(again.seen("p")) == 2
    assert again.get("p") == pool.get("p")


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (("--marge.explore", "frontier"), "set --marge.guidance_source fresh, or --marge.preset frontier"),
        (("--marge.preset", "frontiers"), "--marge.preset is 'frontiers'; it must be one of paper, frontier"),
        (
            ("--marge.preset", "frontier", "--marge.explore", "guided"),
            "--marge.preset frontier stands for --marge.explore frontier, which --marge.explore guided contradicts",
        ),
        (
            ("--marge.preset", "paper", "--marge.guidance_source", "fresh"),
            "--marge.preset paper stands for --marge.guidance_source carried",
        ),
        (("--marge.preset", "frontier", "--marge.frontier_hard", "0.9"), "--marge.frontier_hard 0.9 is not below"),
        (("--marge.preset", "frontier", "--marge.n_guidances", "2"), "chooses its states itself"),
        (("--marge.rescue_samples", "8"), "--marge.rescue_samples is for --marge.explore frontier"),
        (("--marge.frontier_samples", "1"), "--marge.frontier_samples is 1; it must be at least 2"),
    ],
)
def test_flags_that_contradict_each_other_are_one_sentence(flags, sentence):
    with pytest.raises(ValueError, match=sentence):
        parse(*flags)


def test_a_preset_sets_what_is_not_given():
    config = parse("--marge.preset", "frontier", "--marge.frontier_samples", "8", "--marge.negative_weight", "1")
    assert (config.explore, config.guidance_source, config.frontier_samples) == ("frontier", "fresh", 8)
    assert replace(parse("--marge.preset", "paper"), preset=None) == MargeConfig()
    assert parse("--marge.preset", "frontier", "--marge.explore", "frontier").explore == "frontier"
    # Failure prefixes are left out, unless they are asked for; a default that is given is given.
    assert config.guidance_rule == "correct"
    assert parse("--marge.preset", "frontier", "--marge.guidance_rule", "preference").guidance_rule == "preference"


def test_a_preset_says_what_it_sets():
    from types import SimpleNamespace

    said = preset_sentence(SimpleNamespace(preset="frontier", frontier_samples=8, stop=None))
    assert said == (
        "--marge.preset frontier sets --marge.explore frontier, --marge.guidance_source fresh, "
        "--marge.guidance_rule correct, --marge.frontier_states 1, --marge.frontier_hard 0.25, "
        "--marge.frontier_easy 0.85, --marge.frontier_gain 2.0, --marge.frontier_probe 2; given are "
        "--marge.frontier_samples 8"
    )
    assert preset_sentence(SimpleNamespace(preset=None, stop=None)) is None


def test_negative_advantages_are_weighted():
    assert group_advantages([1, 0, 0, 0], [0] * 4, "mean", 0.5) == [0.75, -0.125, -0.125, -0.125]
    assert group_advantages([1, 0, 0, 0], [0] * 4, "mean", 0.0) == [0.75, 0.0, 0.0, 0.0]


def test_the_remembered_pass_rate_is_without_the_rescue():
    _, pool = visits(script([NONE, (0.0, 1.0)]), 1, rescue_samples=2)
    assert pool.pass_rate("p") == 0.0


def test_old_outcomes_leave_the_pool():
    _, pool = visits(script([HALF] * 7), 7, frontier_memory=0.5)
    assert [o.visit for o in pool.seen("p")] == [2, 3, 4, 5, 6]  # 0.5 ** 4 counts, 0.5 ** 5 does not


def test_ends_of_the_bands_belong_to_them():
    config = MargeConfig(**FLAGS, guidance_rule="random", frontier_hard=0.25, frontier_easy=0.75)
    assert [wanted_verdict(rate, config) for rate in (0.25, 0.26, 0.74, 0.75)] == [True, None, None, False]


def test_a_response_of_this_visit_guides_before_an_older_one():
    found, pool = visits(script([ONE, ONE]), 2)
    assert [e.guidance_age for e in found] == [0, 0] and pool.get("p")[0].visit == 1


def test_s0_is_no_state_of_the_guidance_and_outcomes_have_its_verdict():
    (found,), pool = visits(script([ONE]), 1, frontier_states=9)
    assert [g.state.index for g in found.groups] == [0, 1, 2, 3, 4]
    assert [o.on_correct for o in pool.seen("p")] == [None, True, True, True, True]
