"""Completions that bring an advantage for every token: VinePPO's, and how they reach dump, checkpoint and trainer."""

import asyncio
import math
from collections import defaultdict
from dataclasses import replace
from itertools import count

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openrlhf_marge import Completion, MargeConfig
from openrlhf_marge.data.dump import DumpWriter, candidates_path, dump_path
from openrlhf_marge.data.dump_reading import count_trained, read_groups
from openrlhf_marge.exploration.totals import totals_of
from openrlhf_marge.method.metrics import exploration_metrics

from factories import EOS, ScriptedModel, completion, explorer, group, problem, text_ids


def graded(ids, reward: float) -> Completion:
    return Completion(token_ids=tuple(ids), reward=reward, is_correct=reward > 0.5)


def vine(responses, values, **config):
    """One visit: the responses of s_0, and for each prefix the rewards of its probes."""
    rewards = {prefix: list(of_state) for prefix, of_state in values.items()}
    asked = defaultdict(count)

    def script(_, prefix, n):
        if prefix == () and not next(asked["s_0"]):
            return responses
        return [graded((50, EOS), r) for r in rewards[prefix]]

    model = ScriptedModel(script)
    chain = explorer(model, n=len(responses), explore="vineppo", **config)
    return asyncio.run(chain.explore(problem())), model


def test_a_step_gets_the_value_after_it_minus_the_one_before_and_the_last_one_the_reward():
    # Two steps each: labels end at "2:" of "ab 2:cd".
    one, other = text_ids("ab 2:cd"), text_ids("xy 2:z")
    values = {(): (1.0, 0.0, 0.0, 0.0), one[:5]: (1.0, 1.0, 1.0, 0.0), other[:5]: (0.0, 0.0, 0.0, 0.0)}
    found, model = vine(
        [graded((*one, EOS), 1.0), graded(other, 0.0)],
        values,
        vine_samples=4,
        split="step",
        step_label=r"\d:",
        cot_prefix="",
    )
    (trained,) = found.groups
    assert trained.state.prefix_ids == () and [c.reward for c in trained.completions] == [1.0, 0.0]
    assert trained.completions[0].advantages == (0.5,) * 5 + (0.25,) * 3  # .25 -> .75 -> 1, its EOS included
    assert trained.completions[1].advantages == (-0.25,) * 5 + (0.0,)  # .25 -> 0 -> 0
    assert trained.has_signal and found.pass_rate == 0.5
    assert [p.value for p in found.probes] == [0.25, 0.75, 0.0]
    assert [n for _, _, n in model.calls] == [2, 4, 4, 4] and len(set(model.seeds)) == 4
    assert found.probe_tokens == 24 and exploration_metrics([found])["marge/generated_tokens"] == 24 + 8 + 6


def test_a_state_that_responses_share_is_sampled_once_and_an_empty_response_has_s_0_alone():
    found, model = vine(
        [graded((*text_ids("ab 2:c"), EOS), 1.0), graded((*text_ids("ab 2:d"), EOS), 0.0), graded((EOS,), 0.0)],
        {(): (0.0, 1.0), text_ids("ab 2:"): (1.0, 1.0)},
        vine_samples=2,
        split="step",
        step_label=r"\d:",
        cot_prefix="",
    )
    assert [len(prefix) for _, prefix, _ in model.calls] == [0, 0, 5]
    assert [c.advantages for c in found.groups[0].completions] == [
        (0.5,) * 5 + (0.0,) * 2, (0.5,) * 5 + (-1.0,) * 2, (-0.5,),
    ]  # fmt: skip


@given(
    rewards=st.lists(st.sampled_from([0.0, 1.0]), min_size=2, max_size=5),
    probes=st.lists(st.sampled_from([0.0, 0.25, 1.0]), min_size=1, max_size=4),
    length=st.integers(1, 6),
)
def test_with_one_state_the_advantage_is_the_reward_above_the_value_of_s_0(rewards, probes, length):
    responses = [graded((*range(10, 10 + length), EOS), r) for r in rewards]
    found, _ = vine(responses, {(): probes}, vine_samples=len(probes), n_states=1)
    value = math.fsum(probes) / len(probes)
    for response, r in zip(found.groups[0].completions, rewards, strict=True):
        assert response.advantages == pytest.approx([r - value] * (length + 1))


@given(st.lists(st.floats(0, 1), min_size=4, max_size=4), st.floats(0, 1), st.integers(4, 9))
def test_the_advantages_of_steps_add_up_to_the_reward_above_the_value_of_s_0(values, reward, length):
    ids = tuple(range(10, 10 + length))
    prefixes = [ids[: length * j // 4] for j in range(4)]
    found, _ = vine(
        [graded(ids, reward), graded(ids, reward)],
        {prefix: (value,) for prefix, value in zip(prefixes, values, strict=True)},
        vine_samples=1,
        n_states=4,
    )
    advantages = found.groups[0].completions[0].advantages
    expected, along = [], [*values, reward]
    for place in range(length):  # by the definition, token by token
        step = max(j for j in range(4) if place >= len(prefixes[j]))
        expected.append(along[step + 1] - along[step])
    assert advantages == pytest.approx(expected)
    ends = sorted({*map(len, prefixes), length})
    assert sum(advantages[start] for start in ends[:-1]) == pytest.approx(reward - values[0])


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        ({"advantage": "mean"}, "--marge.advantage"),
        ({"prefix_credit": "value_gain"}, "--marge.prefix_credit"),
        ({"state_budget": "adaptive"}, "--marge.state_budget"),
        ({"guide_when": "hard"}, "--marge.guide_when"),
        ({"vine_samples": 0}, "--marge.vine_samples"),
    ],
)
def test_flags_that_it_would_not_heed_are_refused(flags, named):
    with pytest.raises(ValueError, match=named):
        MargeConfig(explore="vineppo", **flags)


@pytest.mark.parametrize(
    ("advantages", "named"),
    [((0.5,), "1 advantages for 2 tokens"), ((math.nan, None), "finite"), ((0.0, math.inf), "finite")],
)
def test_advantages_that_are_no_numbers_are_refused(advantages, named):
    with pytest.raises(ValueError, match=named):
        completion(advantages=advantages)


def test_a_group_has_completions_of_one_kind():
    with pytest.raises(ValueError, match="all or none"):
        replace(group(), completions=(completion(advantages=(0.5, None)), completion()))


def test_a_dump_gives_them_back_and_holds_the_probes_as_what_is_not_trained_on(tmp_path):
    own = replace(
        group(7), completions=(completion(advantages=(1 / 3, None)), completion(0.0, advantages=(-0.1, 0.2)))
    )
    writer = DumpWriter(tmp_path, "group_norm")
    writer.write(1, [own, group(8)], [group(9)])
    writer.wait()
    first, second = read_groups(dump_path(tmp_path, 1))
    assert [c.advantages for c in first.completions] == [(1 / 3, None), (-0.1, 0.2)]
    assert [c.advantages for c in second.completions] == [None, None]
    assert [g.id for g in read_groups(candidates_path(dump_path(tmp_path, 1)))] == [9]
    assert pq.read_table(dump_path(tmp_path, 1))["advantage"].to_pylist()[:2] == pytest.approx([1 / 3, 0.05])


def test_completions_that_are_not_trained_on_are_counted_as_such(tmp_path):
    silent, own = completion(advantages=(None, None)), completion(0.0, advantages=(None, -0.5))
    assert [c.is_trained for c in (silent, own, completion())] == [False, True, True]
    mixed = replace(group(7), completions=(silent, own))
    assert mixed.trained == (own,) and mixed.has_signal
    writer = DumpWriter(tmp_path, "group_norm")
    writer.write(1, [mixed, group(8), replace(group(9), completions=(silent,))])
    writer.wait()
    assert count_trained([dump_path(tmp_path, 1)]) == 3
    assert [len(g.trained) for g in read_groups(dump_path(tmp_path, 1))] == [1, 2, 0]


def test_s0_is_no_part_of_the_advantages_and_eos_none_of_what_is_cut():
    response, s0 = (10, 11, 12, EOS), (3, 4)  # without EOS cut after one token of three, with it after two

    def script(_, prefix, n):
        if n == 1:
            return [graded(response, 1.0)]
        return [graded((50, EOS), r) for r in ((1.0, 0.0, 0.0, 0.0) if prefix == s0 else (1.0, 1.0, 1.0, 0.0))]

    model = ScriptedModel(script)
    chain = explorer(model, n=1, s0_ids=s0, explore="vineppo", vine_samples=4, n_states=2)
    (trained,) = asyncio.run(chain.explore(problem())).groups
    assert [prefix for _, prefix, _ in model.calls] == [s0, s0, (3, 4, 10)]
    assert trained.completions[0].advantages == (0.5, 0.25, 0.25, 0.25)


def test_probes_are_generated_tokens():
    found, _ = vine(
        [graded((20, 21, EOS), 1.0), graded((30, EOS), 0.0)],
        {(): (1.0, 0.0), (20,): (1.0, 0.0), (30,): (0.0, 0.0)},
        vine_samples=2,
        n_states=2,
    )
    metrics = exploration_metrics([found])
    assert metrics["marge/probes"] == 2 * len(found.probes) and len(found.probes) > 1
    totals = totals_of([found])
    assert totals.generated_tokens == totals.probe_tokens + 5 and totals.probe_tokens == 4 * len(found.probes)


def test_zeros_alone_are_no_signal_and_probes_are_not_trained_on():
    zeros = replace(
        group(0), completions=(completion(1.0, advantages=(0.0, None)), completion(0.0, advantages=(0.0, 0.0)))
    )
    assert not zeros.has_signal
    found, _ = vine([graded((20, 21, EOS), 1.0)], {(): (1.0, 0.0), (20,): (1.0, 0.0)}, vine_samples=2, n_states=2)
    assert found.untrained == found.probes != ()
