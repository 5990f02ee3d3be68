"""The whole chain for problems with a scripted model (Algorithm 1)."""

import asyncio
import itertools
import random

import pytest

from openrlhf_marge import Guidance
from openrlhf_marge.metrics import exploration_metrics

from factories import EOS, ScriptedModel, completion, explorer, problem


def alternate(_problem, prefix_ids, n):
    """Responses of six tokens; every other one is correct, beginning with the first."""
    return [completion(float(i % 2 == 0), ids=(*range(20 + i, 26 + i - len(prefix_ids)), EOS)) for i in range(n)]


def explore(explorer_, *problems):
    async def all_problems():
        return await asyncio.gather(*map(explorer_.explore, problems))

    return asyncio.run(all_problems())


def test_the_first_visit_samples_candidates_then_every_state():
    model = ScriptedModel(alternate)
    (result,) = explore(explorer(model, n=4), problem())
    assert [(len(prefix), n) for _, prefix, n in model.calls] == [(0, 6), (0, 4), (2, 4), (4, 4)]
    assert [len(g.state.prefix_ids) for g in result.groups] == [0, 2, 4]
    assert result.candidate_tokens == 6 * 7


def test_states_are_prefixes_of_one_correct_response_for_a_hard_problem():
    (result,) = explore(explorer(ScriptedModel(alternate)), problem())
    last = result.groups[-1].state.prefix_ids
    assert last[0] in (20, 22, 24)
    assert [g.state.prefix_ids for g in result.groups] == [(), last[:2], last]
    assert all(g.guidance_is_correct for g in result.groups)


def test_the_second_visit_needs_no_candidates_and_is_guided_by_the_completions_of_s0():
    model = ScriptedModel(alternate)
    chain = explorer(model)
    explore(chain, problem())
    refreshed = chain.pool.get("p")
    model.calls.clear()
    explore(chain, problem())
    assert [n for _, _, n in model.calls] == [4, 4, 4]
    assert model.calls[2][1] == refreshed.token_ids[:4]


def test_new_guidance_is_s0_and_its_completion():
    (result,) = explore(chain := explorer(ScriptedModel(alternate), s0_ids=(3, 4)), problem())
    assert result.groups[0].state.prefix_ids == (3, 4)
    assert chain.pool.get("p").token_ids[:2] == (3, 4)


def test_guidance_is_kept_when_s0_gives_no_suitable_one():
    chain = explorer(ScriptedModel(lambda p, prefix, n: [completion(0.0, ids=(9, EOS))] * n))
    old = Guidance(token_ids=(5, 6, 7), is_correct=True)
    chain.pool.set("p", old)
    (result,) = explore(chain, problem())
    assert chain.pool.get("p") == old
    assert result.guidance_kept


def test_a_problem_without_suitable_candidate_is_left_out_and_counted():
    model = ScriptedModel(lambda p, prefix, n: [completion(0.0)] * n)
    (result,) = explore(explorer(model), problem())
    assert result.no_guidance and result.groups == ()
    assert exploration_metrics([result])["marge/problems_without_guidance"] == 1.0


def test_a_prompt_without_room_is_left_out_and_nothing_is_sampled():
    model = ScriptedModel(alternate)
    (result,) = explore(explorer(model, s0_ids=(3, 4)), problem(room=2))
    assert result.no_room and model.calls == []


def test_group_ids_are_unique_over_problems_and_visits():
    chain = explorer(ScriptedModel(alternate))
    results = explore(chain, problem("a"), problem("b")) + explore(chain, problem("a"))
    ids = [g.id for r in results for g in r.groups]
    assert len(ids) == len(set(ids)) == 9


def test_the_order_of_answers_does_not_change_what_is_chosen():
    def chosen(delay_seed):
        rng = random.Random(delay_seed)
        model = ScriptedModel(alternate, delays=(rng.random() / 200 for _ in itertools.count()))
        chain = explorer(model)
        explore(chain, *(problem(f"p{i}") for i in range(8)))
        return [chain.pool.get(f"p{i}") for i in range(8)]

    assert chosen(1) == chosen(2)


def test_a_short_answer_of_the_engine_is_an_error_not_a_smaller_group():
    model = ScriptedModel(lambda p, prefix, n: alternate(p, prefix, n)[: 3 if n == 4 else n])
    with pytest.raises(RuntimeError, match="got 3 completions, expected 4"):
        explore(explorer(model), problem())


def test_metrics_of_a_step():
    model = ScriptedModel(alternate)
    results = explore(explorer(model), problem("a"), problem("b"))
    metrics = exploration_metrics(results)
    assert metrics["marge/states_per_problem"] == 3.0
    assert metrics["marge/groups_with_signal"] == 1.0
    assert metrics["marge/pass_rate"] == 0.5
    assert metrics["marge/value_correct/state_0"] == 0.5
    assert metrics["marge/generated_tokens"] == 2 * (6 * 7 + 4 * (7 + 5 + 3))
