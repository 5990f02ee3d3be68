import random

from openrlhf_marge import Guidance, GuidancePool, pick_guidance

from factories import EOS, completion


def pick(rewards, *, threshold=0.5, seed=0, s0_ids=()):
    completions = [completion(r, ids=(100 + i, EOS)) for i, r in enumerate(rewards)]
    return pick_guidance(completions, s0_ids, frozenset({EOS}), threshold, random.Random(seed))


def test_an_easy_problem_gets_an_incorrect_response_sec_3_3():
    assert pick((1, 1, 0, 1)) == Guidance(token_ids=(102,), is_correct=False)


def test_a_hard_problem_gets_a_correct_response_sec_3_3():
    assert pick((0, 1, 0, 0)) == Guidance(token_ids=(101,), is_correct=True)


def test_a_pass_rate_at_the_threshold_is_hard():
    assert pick((0, 1)).is_correct is True
    assert pick((0, 1), threshold=0.4).is_correct is False


def test_no_suitable_response_gives_no_guidance():
    assert pick((0, 0)) is None
    assert pick((1, 1)) is None


def test_guidance_starts_with_s0_and_ends_before_eos():
    assert pick((0, 1, 0), s0_ids=(8, 9)).token_ids == (8, 9, 101)


def test_an_empty_response_cannot_guide():
    only_eos = [completion(1.0, ids=(EOS,)), completion(0.0, ids=(5,)), completion(0.0, ids=(6,))]
    assert pick_guidance(only_eos, (), frozenset({EOS}), 0.5, random.Random(0)) is None


def test_every_suitable_response_is_chosen_equally_often():
    chosen = [pick((1, 0, 1, 0, 0, 0, 0, 1), seed=s).token_ids[0] for s in range(3000)]
    assert {t: round(chosen.count(t) / 3000, 1) for t in set(chosen)} == {100: 0.3, 102: 0.3, 107: 0.3}


def test_the_choices_of_a_visit_do_not_depend_on_other_problems():
    one, other = GuidancePool(7), GuidancePool(7)
    other.visit("b")
    assert one.visit("a").random() == other.visit("a").random()


def test_every_visit_draws_anew_and_a_restored_pool_goes_on_as_the_old_one():
    pool = GuidancePool(7)
    pool.set("a", Guidance(token_ids=(1,), is_correct=True))
    first = pool.visit("a").random()
    restored = GuidancePool(7)
    restored.load_state_dict(pool.state_dict())
    second = pool.visit("a").random()
    assert first != second == restored.visit("a").random()
    assert restored.get("a") == Guidance(token_ids=(1,), is_correct=True)


def test_the_state_prints_as_one_short_line():
    pool = GuidancePool(0)
    pool.set("a", Guidance(token_ids=(1,) * 1000, is_correct=True))
    assert repr(pool.state_dict()) == "<guidance of 1 problems>"
