import random

import pytest

from openrlhf_marge import GuidancePool, MargeConfig, pick_guidance
from openrlhf_marge.method.guidance import without_end

from factories import EOS, completion, guidance, letters, text_ids


def pick(rewards, *, seed=0, s0_ids=(), **config):
    completions = [completion(r, ids=(100 + i, EOS)) for i, r in enumerate(rewards)]
    return pick_guidance(completions, s0_ids, frozenset({EOS}), MargeConfig(**config), random.Random(seed), visit=3)


def picked_ids(rewards, **kwargs) -> set[int]:
    """First tokens of all that is ever picked."""
    return {g.token_ids[-1] for seed in range(60) for g in pick(rewards, seed=seed, **kwargs)}


def test_an_easy_problem_gets_an_incorrect_response_sec_3_3():
    assert pick((1, 1, 0, 1)) == (guidance((102,), correct=False, pass_rate=0.75, visit=3),)


def test_a_hard_problem_gets_a_correct_response_sec_3_3():
    assert pick((0, 1, 0, 0)) == (guidance((101,), correct=True, pass_rate=0.25, visit=3),)


def test_a_pass_rate_at_the_threshold_is_hard():
    assert pick((0, 1))[0].is_correct is True
    assert pick((0, 1), guidance_threshold=0.4)[0].is_correct is False


@pytest.mark.parametrize(
    ("rule", "easy", "hard"),
    [
        ("preference", {103}, {101}),
        ("fixed", {103}, {101}),
        ("correct", {100, 101, 102}, {101}),
        ("random", {100, 101, 102, 103}, {100, 101, 102, 103}),
    ],
)
def test_the_rules_of_table_4(rule, easy, hard):
    assert picked_ids((1, 1, 1, 0), guidance_rule=rule) == easy
    assert picked_ids((0, 1, 0, 0), guidance_rule=rule) == hard


def test_no_suitable_response_gives_no_guidance():
    assert pick((0, 0)) == pick((1, 1)) == ()
    assert pick((0, 0), guidance_rule="correct") == ()


def test_guidance_starts_with_s0_and_ends_before_eos():
    assert pick((0, 1, 0), s0_ids=(8, 9))[0].token_ids == (8, 9, 101)


def test_an_empty_response_cannot_guide():
    only_eos = [completion(1.0, ids=(EOS,)), completion(0.0, ids=(5,)), completion(0.0, ids=(6,))]
    assert pick_guidance(only_eos, (), frozenset({EOS}), MargeConfig(), random.Random(0)) == ()


def test_several_guidances_are_different_ones_remark_c_4():
    correct = [completion(1.0, ids=ids) for ids in ((5, EOS), (5, EOS), (6, EOS), (7, EOS))]
    completions = correct + [completion(0.0)] * 4
    for seed in range(20):
        picked = pick_guidance(completions, (), frozenset({EOS}), MargeConfig(n_guidances=3), random.Random(seed))
        assert {g.token_ids for g in picked} == {(5,), (6,), (7,)}


def test_every_suitable_response_is_chosen_equally_often():
    chosen = [pick((1, 0, 1, 0, 0, 0, 0, 1), seed=s)[0].token_ids[0] for s in range(3000)]
    assert {t: round(chosen.count(t) / 3000, 1) for t in set(chosen)} == {100: 0.3, 102: 0.3, 107: 0.3}


def test_the_pool_gives_back_what_it_was_given():
    pool = GuidancePool()
    both = (guidance((1, 2**31, 3), visit=4, pass_rate=0.25), guidance((7,), correct=False))
    pool.set("a", both)
    assert pool.get("a") == both and pool.get("b") == ()


def test_visits_are_counted_per_problem_and_a_restored_pool_goes_on_as_the_old_one():
    pool = GuidancePool()
    pool.set("a", (guidance(),))
    assert [pool.visit("a"), pool.visit("a"), pool.visit("b")] == [0, 1, 0]
    restored = GuidancePool()
    restored.update(pool.state_dict())
    assert restored.visit("a") == 2 and restored.get("a") == (guidance(),)


def test_a_part_of_the_state_changes_nothing_else():
    pool, change = GuidancePool(), GuidancePool()
    pool.set("a", (guidance(),))
    change.set("b", (guidance((9,)),))
    change.visit("b")
    pool.update(change.state_dict(["b", "never seen"]))
    assert pool.get("a") == (guidance(),) and pool.get("b") == (guidance((9,)),) and pool.visit("b") == 1


def test_the_state_prints_as_one_short_line():
    pool = GuidancePool()
    pool.set("a", (guidance((1,) * 1000),))
    pool.visit("a")
    assert repr(pool.state_dict()) == "<guidance of 1 problems>"


@pytest.mark.parametrize(
    ("text", "rest"),
    [
        ("It is 7.\n\nQuestion:", "It is 7."),
        ("It is 7.\n\nQuestio", "It is 7.\n\nQuestio"),  # cut by the length limit before the text was whole
        ("Q: 7.\n\nQuestion: 8", ""),  # the first of the texts, wherever it stands
        ("It is 7.", "It is 7."),
    ],
)
def test_a_guidance_ends_before_a_stop_text(text, rest):
    assert without_end(text_ids(text), frozenset({EOS}), ("\n\nQuestion:", "Q:"), letters) == text_ids(rest)


def test_a_token_that_holds_the_begin_of_a_stop_text_goes_with_it():
    pieces = {1: "It is", 2: " 7.\n", 3: "\nQues", 4: "tion:"}
    ids = without_end((1, 2, 3, 4), frozenset({EOS}), ("\n\nQuestion:",), lambda ids: [pieces[i] for i in ids])
    assert ids == (1,)


def test_what_follows_eos_is_no_part_of_a_response_with_or_without_stop_texts():
    ids = (*text_ids("7"), EOS, *text_ids("Q:"))
    assert without_end(ids, frozenset({EOS})) == without_end(ids, frozenset({EOS}), ("Q:",), letters) == text_ids("7")


def test_guidance_of_a_run_with_stop_texts_holds_none_of_them():
    completions = [completion(r, ids=text_ids(f"{i}\n\nQ:")) for i, r in enumerate((1.0, 1.0, 0.0))]
    picked = pick_guidance(
        completions, (), frozenset({EOS}), MargeConfig(guidance_rule="correct", n_guidances=2, stop=("\n\nQ:",)),
        random.Random(0), decode_pieces=letters,
    )  # fmt: skip
    assert {g.token_ids for g in picked} == {text_ids("0"), text_ids("1")}
