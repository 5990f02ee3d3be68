"""What is said where problems find no guidance."""

import asyncio

import pytest

from openrlhf_marge.method.no_guidance import WithoutGuidance
from openrlhf_marge.rewards.batch import LOGGED

from factories import EOS, ScriptedModel, completion, explorer, problem


def graded(text, reward, reason=None, **kwargs):
    """A completion as the package's grader leaves it."""
    logs = tuple((f"grader_{name}", float(name == reason)) for name in LOGGED)
    return completion(reward, ids=(*map(ord, text), EOS), extra_logs=logs, **kwargs)


def decode(ids):
    return "".join(chr(i) for i in ids if i != EOS)


def said(*responses, problems=1, **config):
    """The sentence after a visit of each problem that is answered so."""
    found = WithoutGuidance(config.get("stop", ()))
    chain = explorer(ScriptedModel(lambda p, prefix, n: [responses[i % len(responses)] for i in range(n)]), **config)
    for i in range(problems):
        found.add(asyncio.run(chain.explore(problem(f"p{i}"))))
    return found.sentence(decode)


def test_nothing_is_said_where_every_problem_finds_guidance():
    assert said(graded("the answer is 7", 1.0), graded("the answer is 8", 0.0)) is None


def test_counts_example_and_advice():
    assert said(graded("the answer is 12", 0.0), graded("hm", 0.0, "no_answer", truncated=True), problems=2) == (
        "2 of 2 problems found no response that could guide: 2 had no correct one, 0 no incorrect one. For example "
        "the problem 'prompt p0': the model wrote 'the answer is 12'; the package's grader reads the answer '12' "
        "(wrong), the gold answer is '7', the reward 0. So few found guidance that one of these may be wrong: the "
        "prompt (--data.input_key, --data.input_template, --data.apply_chat_template), the length limit (50% of these "
        "responses were cut off by --rollout.max_new_tokens or --data.max_len), the grader (--reward.remote_url or "
        "--marge.reward; it read no answer in 50%), or the difficulty (0% were correct)."
    )


def test_the_answer_is_read_as_it_was_graded_without_the_stop_text():
    """The text that ended a completion is among its tokens."""
    sentence = said(graded("So he has 8 - 4 = 6.\n\nQuestion", 0.0), stop=("\n\nQuestion",))
    assert "the model wrote 'So he has 8 - 4 = 6.'; the package's grader reads the answer '6' (wrong)" in sentence


def test_a_problem_that_is_always_solved_lacks_an_incorrect_response():
    assert "0 had no correct one, 1 no incorrect one" in said(graded("the answer is 7", 1.0))


def test_a_reward_of_ones_own_has_no_answer_that_was_read():
    sentence = said(completion(0.25, ids=(*map(ord, "up"), EOS), truncated=True))
    end = "the model wrote 'up' and was cut off by the length limit; the gold answer is '7', the reward 0.25."
    assert end in sentence
    assert "grader reads" not in sentence


@pytest.mark.parametrize(("solved", "advised"), [(0, True), (1, False)])
def test_advice_is_given_below_a_tenth(solved, advised):
    found = WithoutGuidance()
    for i in range(10):
        responses = [completion(1.0), completion(0.0)] if i < solved else [completion(0.0)]
        chain = explorer(ScriptedModel(lambda p, prefix, n, r=responses: [r[k % len(r)] for k in range(n)]))
        found.add(asyncio.run(chain.explore(problem(f"p{i}"))))
    sentence = found.sentence(decode)
    assert f"{10 - solved} of 10 problems" in sentence and ("may be wrong" in sentence) is advised


def test_with_fresh_guidance_the_s0_group_tells_it():
    assert "1 had no correct one" in said(graded("the answer is 8", 0.0), guidance_source="fresh")


def test_long_texts_are_shown_from_their_ends():
    sentence = said(graded("x" * 500 + " the answer is 8", 0.0))
    assert "the model wrote '..." in sentence and len(sentence) < 1200
