"""The whole chain for problems with a scripted model (Algorithm 1)."""

import asyncio
import itertools
import random

import pytest

from openrlhf_marge import Exploration, GuidancePool, MargeConfig
from openrlhf_marge.method.metrics import exploration_metrics

from factories import EOS, ScriptedModel, completion, explorer, group, guidance, letters, problem, text_ids


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
    assert all(g.state.guidance.is_correct for g in result.groups)


def test_the_second_visit_needs_no_candidates_and_is_guided_by_the_completions_of_s0():
    model = ScriptedModel(alternate)
    chain = explorer(model)
    explore(chain, problem())
    (refreshed,) = chain.pool.get("p")
    model.calls.clear()
    explore(chain, problem())
    assert [n for _, _, n in model.calls] == [4, 4, 4]
    assert model.calls[2][1] == refreshed.token_ids[:4]


def test_new_guidance_is_s0_and_its_completion():
    (result,) = explore(chain := explorer(ScriptedModel(alternate), s0_ids=(3, 4)), problem())
    assert result.groups[0].state.prefix_ids == (3, 4)
    assert chain.pool.get("p")[0].token_ids[:2] == (3, 4)


def test_guidance_is_kept_when_s0_gives_no_suitable_one():
    chain = explorer(ScriptedModel(lambda p, prefix, n: [completion(0.0, ids=(9, EOS))] * n))
    old = guidance((5, 6, 7))
    chain.pool.set("p", (old,))
    (result,) = explore(chain, problem())
    assert chain.pool.get("p") == (old,)
    assert result.guidance_kept


def test_a_problem_without_suitable_candidate_is_left_out_and_counted():
    model = ScriptedModel(lambda p, prefix, n: [completion(0.0)] * n)
    (result,) = explore(explorer(model), problem())
    assert result.no_guidance and result.groups == () and result.pass_rate == 0.0
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


def test_every_request_has_its_own_seed_and_a_visit_has_the_same_ones_again():
    def seeds(seed):
        model = ScriptedModel(alternate)
        explore(explorer(model, seed=seed), problem("a"), problem("b"))
        return model.seeds

    assert sorted(seeds(1)) == sorted(seeds(1)) and len(set(seeds(1))) == 8
    assert not set(seeds(1)) & set(seeds(2))


def test_fixed_guidance_is_never_picked_again_table_4():
    chain = explorer(ScriptedModel(alternate), guidance_rule="fixed")
    explore(chain, problem())
    first = chain.pool.get("p")
    (result,) = explore(chain, problem())
    assert chain.pool.get("p") == first
    assert (result.guidance_kept, result.guidance_age) == (True, 1)


def test_fresh_guidance_comes_from_this_visits_s0_group_without_candidates():
    model = ScriptedModel(alternate)
    chain = explorer(model, guidance_source="fresh")
    (result,) = explore(chain, problem())
    assert [(len(prefix), n) for _, prefix, n in model.calls] == [(0, 4), (2, 4), (4, 4)]
    guide = result.groups[1].state.guidance
    assert guide.token_ids in [c.token_ids[:-1] for c in result.groups[0].completions]
    assert (result.guidance_age, result.candidate_tokens) == (0, 0)


def test_where_fresh_finds_none_the_carried_one_serves():
    model = ScriptedModel(lambda p, prefix, n: [completion(0.0, ids=(9, EOS))] * n)
    chain = explorer(model, guidance_source="fresh")
    (alone,) = explore(chain, problem())
    assert alone.no_guidance and [g.state.prefix_ids for g in alone.groups] == [()]
    chain.pool.set("p", (guidance((5, 6, 7)),))
    (result,) = explore(chain, problem())
    assert [g.state.prefix_ids for g in result.groups] == [(), (5,), (5, 6)]
    assert (result.guidance_kept, result.guidance_age) == (True, 1)


def test_fresh_waits_for_no_other_problem():
    started, may_end = [], asyncio.Event()

    class Model(ScriptedModel):
        async def complete(self, asked, prefix_ids, n, seed):
            if asked.id == "slow":
                await may_end.wait()
            started.append((asked.id, prefix_ids))
            return alternate(asked, prefix_ids, n)

    async def both():
        chain = explorer(Model(None), guidance_source="fresh")
        slow = asyncio.create_task(chain.explore(problem("slow")))
        await chain.explore(problem("fast"))
        assert [name for name, _ in started] == ["fast"] * 3
        may_end.set()
        await slow

    asyncio.run(both())


def test_guidance_given_with_the_data_guides_the_first_visit():
    model = ScriptedModel(alternate, correct=False)
    (result,) = explore(explorer(model), problem(given=(5, 6, 7, EOS, 8)))
    assert [g.state.prefix_ids for g in result.groups] == [(), (5,), (5, 6)]
    assert not result.groups[0].state.guidance.is_correct and result.candidate_tokens == 0


def test_a_stop_text_within_s_0_does_not_end_a_given_guidance():
    s0_ids, given = text_ids("Think.\n\nStep 1:"), text_ids("Think.\n\nStep 1: 3+4\n\nQ: 5")
    chain = explorer(ScriptedModel(alternate), s0_ids=s0_ids, stop=("\n\n",), n_states=2)
    (result,) = explore(chain, problem(given=given, room=1000))
    assert letters(result.groups[0].state.guidance.token_ids) == list("Think.\n\nStep 1: 3+4")


def test_given_guidance_without_any_token_is_none():
    (result,) = explore(explorer(ScriptedModel(alternate)), problem(given=(EOS,)))
    assert result.candidate_tokens > 0


def solved(*rates):
    """The n-th call gives completions of which the n-th share is correct; the last share goes on."""
    left = list(rates)

    def script(_problem, prefix_ids, n):
        rate = left.pop(0) if len(left) > 1 else left[0]
        return [completion(float(i < round(rate * n)), ids=(i + 1, 6, 7, EOS)) for i in range(n)]

    return script


def test_easy_problems_are_sampled_from_s0_only_where_guidance_does_not_pay():
    chain = explorer(ScriptedModel(solved(0.75)), guide_when="hard")
    (easy,) = explore(chain, problem())
    assert [len(g.completions) for g in easy.groups] == [4]


@pytest.mark.parametrize("source", ["carried", "fresh"])
def test_a_problem_that_is_always_solved_is_not_explored_at_full_cost_though_its_old_guidance_stays(source):
    """No incorrect response exists at V(s_0) = 1, so nothing takes the place of a guidance picked at 0.25."""
    chain = explorer(ScriptedModel(solved(1.0)), guide_when="hard", guidance_source=source)
    chain.pool.set("p", (guidance((5, 6, 7), pass_rate=0.25),))
    chain.pool.set_pass_rate("p", 0.25)
    groups = [len(explore(chain, problem())[0].groups) for _ in range(3)]
    assert groups == ([3, 1, 1] if source == "carried" else [1, 1, 1])
    assert chain.pool.get("p")[0].pass_rate == 0.25


def test_a_problem_that_became_hard_again_is_guided_by_what_is_there():
    chain = explorer(ScriptedModel(solved(0.25, 0.25, 0.5)), guide_when="hard", guidance_rule="fixed")
    chain.pool.set("p", (guidance((5, 6, 7), pass_rate=0.75),))
    chain.pool.set_pass_rate("p", 0.75)
    assert [len(explore(chain, problem())[0].groups) for _ in range(2)] == [1, 3]


def test_a_given_correct_guidance_says_nothing_about_the_pass_rate():
    chain = explorer(ScriptedModel(solved(0.25)), guide_when="hard")
    (result,) = explore(chain, problem(given=(5, 6, 7)))
    assert len(result.groups) == 3


def test_the_newest_pass_rate_outlives_a_checkpoint():
    pool, restored = GuidancePool(), GuidancePool()
    pool.visit("p")
    pool.set_pass_rate("p", 0.875)
    restored.update(pool.state_dict(["p"]))
    assert restored.pass_rate("p") == 0.875 and restored.pass_rate("q") is None


def test_the_same_problem_twice_in_a_rollout_is_visited_twice_one_after_the_other():
    """Both at once would pay for candidates twice, and the last answer would decide which guidance stays."""

    def visits(delay_seed):
        rng = random.Random(delay_seed)
        model = ScriptedModel(alternate, delays=(rng.random() / 200 for _ in itertools.count()))
        chain = explorer(model)
        results = explore(chain, problem("a"), problem("b"), problem("a"), problem("a"))
        assert [n for name, _, n in model.calls if name == "a"] == [6, *[4] * 9]
        return [r.guidance_age for r in results], [g.id for r in results for g in r.groups], chain.pool.get("a")

    assert visits(1) == visits(2)
    assert visits(1)[0] == [0, 0, 1, 1]  # "b" is the second one


def test_a_failed_visit_does_not_keep_the_next_one_waiting():
    model = ScriptedModel(lambda p, prefix, n: alternate(p, prefix, n)[:1])

    async def both():
        chain = explorer(model)
        return await asyncio.gather(chain.explore(problem()), chain.explore(problem()), return_exceptions=True)

    assert all(isinstance(result, RuntimeError) for result in asyncio.run(both()))


@pytest.mark.parametrize(("match", "n"), [("samples", 4 * 3), ("tokens", 4 + 4 * 1)])
def test_vanilla_samples_from_s0_what_guided_exploration_would_have_taken(match, n):
    """States at 0, 1/3 and 2/3: as many tokens as 1 + 2/3 + 1/3 times 4 whole responses."""
    model = ScriptedModel(alternate)
    (result,) = explore(explorer(model, explore="vanilla", vanilla_match=match), problem())
    assert [prefix for _, prefix, _ in model.calls] == [(), ()]
    assert [len(g.completions) for g in result.groups] == [n]


def test_tokens_are_matched_in_completions_and_not_in_whole_groups():
    """States at 0, 1/4, 2/4 and 3/4: 4 x (3/4 + 2/4 + 1/4) whole responses beside the first 4."""
    model = ScriptedModel(lambda p, prefix, n: [completion(i % 2, ids=(*range(10, 18), EOS)) for i in range(n)])
    chain = explorer(model, explore="vanilla", vanilla_match="tokens", split="tokens", n_states=4)
    (result,) = explore(chain, problem())
    assert [len(g.completions) for g in result.groups] == [4 + 6]


@pytest.mark.parametrize(("correct", "n"), [(2, 4 * 3), (3, 4)])
def test_vanilla_matches_what_guide_when_leaves_out(correct, n):
    model = ScriptedModel(lambda p, prefix, n: [completion(i < correct, ids=(*range(10, 16), EOS)) for i in range(n)])
    (result,) = explore(explorer(model, explore="vanilla", guide_when="hard"), problem())
    assert [len(g.completions) for g in result.groups] == [n]


def test_what_vanilla_cannot_match_is_refused():
    with pytest.raises(ValueError, match=r"vanilla cannot match --marge\.state_budget adaptive"):
        MargeConfig(explore="vanilla", state_budget="adaptive")


def test_the_remembered_pass_rate_of_an_adaptive_budget_is_of_its_first_half():
    """One of the first four is correct, and none of what is sampled since they were mixed."""

    def script(asked, prefix, n):
        right = 1 if not prefix and not script.more.setdefault(asked.id, 0) else 0
        script.more[asked.id] += not prefix
        return [completion(float(i < right), ids=(*range(10, 16), EOS)) for i in range(n)]

    script.more = {}
    chain = explorer(ScriptedModel(script), state_budget="adaptive", n=8)
    chain.pool.set("p", (guidance(range(10, 16)),))
    (result,) = explore(chain, problem())
    assert len(result.groups[0].completions) > 4 and chain.pool.pass_rate("p") == 0.25
    assert chain.pool.get("p")[0].pass_rate == 0.25


def test_the_pass_rate_is_of_completions_whose_number_no_outcome_decided():
    """Three of the first four are correct, and of the eight that follow since they gave guidance, all."""

    def script(asked, prefix, n):
        right = [1.0, 1.0, 1.0, 0.0] if not script.calls else [1.0] * n
        script.calls += 1
        return [completion(r, ids=(*range(10, 16), EOS)) for r in right]

    script.calls = 0
    (found,) = explore(explorer(ScriptedModel(script), explore="vanilla", n=4), problem())
    assert len(found.groups[0].completions) == 12 and found.pass_rate == 0.75


def test_the_pass_rate_of_a_problem_with_candidates_is_theirs():
    """Its s_0 group is there only where one of them is suitable."""

    def script(asked, prefix, n):
        return [completion(float(i == 0 or n == 4), ids=(*range(10, 16), EOS)) for i in range(n)]

    (found,) = explore(explorer(ScriptedModel(script), n=4, n_candidates=8), problem())
    assert found.groups[0].pass_rate == 1.0 and found.pass_rate == 0.125


def test_the_gain_over_s0_is_not_known_where_its_completions_chose_the_guidance():
    """Carried guidance has it: s_0 is sampled anew. So have the states after the first one in both."""

    def script(asked, prefix, n):
        return [completion(float(i < 1 + len(prefix) // 2), ids=(*range(10, 16), EOS)) for i in range(n)]

    gains, chose = {}, {}
    for source in ("fresh", "carried"):
        chain = explorer(ScriptedModel(script), n=4, guidance_source=source, split="tokens", n_states=3)
        (found,) = explore(chain, problem())
        gains[source] = [g.value_gain for g in found.groups]
        chose[source] = [g.chose_guidance for g in found.groups]
    assert gains == {"fresh": [0.0, 0.0, 0.25], "carried": [0.0, 0.25, 0.25]}
    assert chose == {"fresh": [True, False, False], "carried": [False, False, False]}


def by_depth(*rates):
    """Completions from the j-th state are correct with the j-th rate, in a fixed order."""

    def script(_problem, prefix_ids, n):
        rate = rates[len(prefix_ids) // 2]
        return [completion(float((i + 1) * rate % 1 < rate or rate == 1), ids=(7, 8, EOS)) for i in range(n)]

    return script


def test_adaptive_gives_the_second_half_to_mixed_states():
    model = ScriptedModel(by_depth(0.5, 0.0, 1.0))
    chain = explorer(model, state_budget="adaptive", n=8)
    chain.pool.set("p", (guidance(range(10, 16)),))
    (result,) = explore(chain, problem())
    assert [len(g.completions) for g in result.groups] == [4 + 3 * 4, 4, 4]
    assert sum(len(g.completions) for g in result.groups) == 3 * 8
    assert len(set(model.seeds)) == 4


def test_adaptive_with_fresh_guidance_spends_no_more_than_all():
    chain = explorer(ScriptedModel(by_depth(0.5, 0.0, 0.5)), state_budget="adaptive", n=8, guidance_source="fresh")
    chain.pool.set("p", (guidance(range(10, 16)),))
    model = ScriptedModel(lambda p, prefix, n: [*alternate(p, prefix, n)])
    object.__setattr__(chain, "sampler", model)
    (result,) = explore(chain, problem())
    assert sum(n for _, _, n in model.calls) == sum(len(g.completions) for g in result.groups) == 3 * 8


def test_value_gains_are_differences_of_neighbouring_values():
    chain = explorer(ScriptedModel(by_depth(0.5, 0.25, 1.0)))
    chain.pool.set("p", (guidance(range(10, 16)),))
    (result,) = explore(chain, problem())
    assert [g.value for g in result.groups] == [0.5, 0.25, 1.0]
    assert [g.value_gain for g in result.groups] == [0.0, -0.25, 0.75]


def test_metrics_of_a_step():
    model = ScriptedModel(alternate)
    results = explore(explorer(model), problem("a"), problem("b"))
    metrics = exploration_metrics(results)
    assert metrics["marge/states_per_problem"] == 3.0
    assert metrics["marge/groups_with_signal"] == 1.0
    assert metrics["marge/groups_after_s0"] == 2 / 3
    assert metrics["marge/pass_rate"] == 0.5
    assert metrics["marge/value_correct/state_0"] == 0.5
    assert metrics["marge/value_correct/position_80"] == 0.5  # the state at 4 of 6 tokens, where five cuts have one
    assert metrics["marge/generated_tokens"] == 2 * (6 * 7 + 4 * (7 + 5 + 3))
    assert metrics["marge/outcome_diversity_per_1k_tokens"] == pytest.approx(1000 * 24 * (2 / 3) / 120)  # 4 of 6 pairs
    assert metrics["marge/valid_pairs_per_1k_tokens"] == pytest.approx(1000 * 12 / 120)
    assert metrics["marge/guidance_age"] == 0.0 and metrics["marge/groups_across_weight_updates"] == 0.0


def test_the_pass_rate_is_of_all_problems_of_which_anything_was_sampled():
    """Of a problem that is always solved no response is incorrect, so there is none to guide it, and no group."""
    model = ScriptedModel(lambda p, prefix, n: [completion(1.0)] * n if p.id == "solved" else alternate(p, prefix, n))
    results = explore(explorer(model), problem("a"), problem("solved"), problem("long", room=0))
    assert [r.pass_rate for r in results] == [0.5, 1.0, None]
    metrics = exploration_metrics(results)
    assert metrics["marge/pass_rate"] == 0.75 and metrics["marge/problems_without_guidance"] == 1.0


def test_valid_pairs_are_of_the_rarer_outcome():
    one = Exploration(problem_id="p", groups=(group(0, (1.0, 0.0, 0.0, 0.0)),))
    assert exploration_metrics([one])["marge/valid_pairs_per_1k_tokens"] == 1000 * 1 / 8


def test_given_guidance_is_of_the_visit_that_takes_it():
    pool = GuidancePool()
    pool.visit("p")  # one that left no guidance
    chain = explorer(
        ScriptedModel(lambda _, prefix, n: [completion(i % 2, ids=(10 + i, 20, EOS)) for i in range(n)]), pool=pool
    )
    found = asyncio.run(chain.explore(problem(given=(60, 61, 62, EOS))))
    assert found.groups[0].state.guidance.visit == 1 and found.guidance_age == 0


def test_an_odd_number_is_halved_downwards_and_the_pass_rate_is_of_the_first_half():
    firsts = []

    def answer(asked, prefix, n):
        if prefix or n == 6:
            return [completion(float(bool(prefix) or i % 2), ids=(10 + i, 20 + i, 30 + i, EOS)) for i in range(n)]
        firsts.append(n)
        return [completion(float(len(firsts) % 2 and i == 0), ids=(50 + i, 51, 52, EOS)) for i in range(n)]

    model = ScriptedModel(answer)
    results = explore(explorer(model, n=5, state_budget="adaptive"), problem(), problem())
    assert [n for _, prefix, n in model.calls if not prefix][:3] == [6, 2, 9]
    assert results[1].candidates is None and results[1].pass_rate == 0.5


def test_means_are_over_what_was_explored():
    solved = ScriptedModel(lambda p, prefix, n: [completion(1.0)] * n if p.id == "solved" else alternate(p, prefix, n))
    results = explore(explorer(solved), problem("a"), problem("solved"))
    assert exploration_metrics(results)["marge/states_per_problem"] == 3.0
    fresh = exploration_metrics(explore(explorer(ScriptedModel(alternate), guidance_source="fresh"), problem("a")))
    assert "marge/value_correct/state_0" not in fresh and fresh["marge/value_correct/state_1"] == 0.5
