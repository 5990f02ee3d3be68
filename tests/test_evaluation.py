"""The statistics of an evaluation against counting by hand, brute force and OpenRLHF; the prompts of App. E."""

import itertools
import random
from collections import Counter
from fractions import Fraction
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openrlhf_marge.arithmetic.model import build_tokenizer
from openrlhf_marge.data.files import write_json
from openrlhf_marge.evaluation import (
    Estimate,
    Response,
    choose_prompt,
    maj_at_k,
    over_problems,
    pass_at_k,
    problem_metrics,
    render_prompt,
    vote_of,
)
from openrlhf_marge.evaluation.flags import parse_args
from openrlhf_marge.evaluation.prompting import Prompter
from openrlhf_marge.evaluation.results import read_results

RIGHT = "right"


@pytest.mark.parametrize(("n", "c", "k", "value"), [(4, 2, 1, 0.5), (4, 2, 2, 5 / 6), (4, 0, 4, 0.0), (4, 1, 4, 1.0)])
def test_the_unbiased_estimate(n, c, k, value):
    assert pass_at_k(n, c, k) == pytest.approx(value)


def test_it_is_the_share_of_draws_of_k_that_hold_a_correct_one():
    draws = list(itertools.combinations([1, 1, 0, 0, 0, 0], 3))
    assert pass_at_k(6, 2, 3) == pytest.approx(sum(any(d) for d in draws) / len(draws))


def test_k_above_n_is_refused():
    with pytest.raises(ValueError, match="pass@5 of 1 correct among 4"):
        pass_at_k(4, 1, 5)
    with pytest.raises(ValueError, match="is not defined"):
        maj_at_k(4, 1, [1], [5])
    with pytest.raises(ValueError, match="is not defined"):
        maj_at_k(4, 3, [2], [1])


def majority_by_hand(votes, k):
    """Mean over all subsets of k: 1 over the number of tied answers where the correct one is among them."""
    shares = []
    for drawn in itertools.combinations(votes, k):
        counts = Counter(vote for vote in drawn if vote is not None)
        winners = [vote for vote in counts if counts[vote] == max(counts.values())]
        shares.append(Fraction(RIGHT in winners, max(len(winners), 1)))
    return float(sum(shares) / len(shares))


@given(st.lists(st.sampled_from([RIGHT, "a", "b", "c", None]), min_size=1, max_size=8))
def test_maj_at_k_is_the_mean_over_all_subsets(votes):
    wrong = Counter(vote for vote in votes if vote not in (RIGHT, None))
    ks = range(1, len(votes) + 1)
    found = maj_at_k(len(votes), votes.count(RIGHT), list(wrong.values()), ks)
    assert found == pytest.approx({k: majority_by_hand(votes, k) for k in ks})


def test_maj_at_k_of_many_responses_is_what_random_draws_give():
    votes = [RIGHT] * 24 + ["a"] * 20 + ["b"] * 10 + list("cdefgh") + [None] * 4
    rng = random.Random(0)
    drawn = [majority_by_hand(rng.sample(votes, 16), 16) for _ in range(4000)]
    (expected,) = maj_at_k(64, 24, [20, 10, *[1] * 6], [16]).values()
    assert expected == pytest.approx(sum(drawn) / len(drawn), abs=0.02)  # 2.5 standard errors


@pytest.mark.parametrize(
    "same", [("0.5", r"\frac12", "1/2", "0.50"), ("1,000", "1000", "1000."), (r"\text{East}", "east"), ("(B)", "B")]
)
def test_spellings_of_one_answer_are_one_vote(same):
    assert len({vote_of(answer) for answer in same}) == 1


def test_other_answers_are_other_votes():
    answers = ["0.5", "50", "x+1", "x-1", "East", "West", "(1, 2)", "(2, 1)", "9" * 5000, "9" * 5001]
    assert len({vote_of(answer) for answer in answers}) == len(answers)


def response(answer, *, correct=False, reason="wrong", truncated=False):
    return Response("text", answer, correct, "correct" if correct else reason, truncated)


def test_the_metrics_of_a_problem():
    sampled = [
        response("0.5", correct=True),
        response("2"),
        response("4/2", reason="timeout"),
        response(None, reason="no_answer", truncated=True),
    ]
    found = problem_metrics(sampled, [response("1/2", correct=True), response("2")], ks=[1, 2, 4])
    # Of 6 pairs 3 hold the correct one; it wins 1 of these, and is tied in 2. Of all four 2 say 2.
    expected = {"pass@1": 1 / 4, "pass@2": 1 / 2, "pass@4": 1.0, "maj@2": 2 / 6, "maj@4": 0.0}
    expected |= {"truncated": 1 / 4, "no_answer": 1 / 4, "unparsable": 0.0, "timeout": 1 / 4, "error": 0.0}
    nothing = dict.fromkeys(["truncated", "no_answer", "unparsable", "timeout", "error"], 0.0)
    assert found == pytest.approx(
        expected | {"greedy_pass@1": 0.5} | {f"greedy_{name}": share for name, share in nothing.items()}
    )


def test_mean_and_standard_error_over_problems():
    estimate = over_problems([{"pass@1": v} for v in (1.0, 0.0, 0.5, 0.5)])["pass@1"]
    assert estimate.mean == 0.5
    assert estimate.standard_error == pytest.approx(0.2041241)  # sqrt(((.5^2 + .5^2) / 3) / 4)
    assert over_problems([{"pass@1": 1.0}])["pass@1"].standard_error is None
    with pytest.raises(ValueError, match="no problems"):
        over_problems([])


def test_openrlhfs_evaluation_in_training_says_the_same():
    torch = pytest.importorskip("torch")
    metrics_of = pytest.importorskip("openrlhf.trainer.ppo_trainer", reason="no host").compute_eval_metrics
    rng, n = random.Random(1), 4
    problems = {f"problem {i}": [response("2", correct=rng.random() < 0.3) for _ in range(n)] for i in range(20)}
    loader = [(["data"] * 20, list(problems), ["2"] * 20, [None] * 20)]
    samples = [
        SimpleNamespace(
            prompts=[prompt],
            rewards=torch.tensor([float(r.correct)]),
            response_length=torch.tensor([5.0]),
            truncated=torch.tensor([float(r.truncated)]),
        )
        for prompt, responses in problems.items()
        for r in responses
    ]
    theirs = metrics_of(loader, samples, n)
    ours = over_problems([problem_metrics(responses, [], [1, n]) for responses in problems.values()])
    assert 0 < ours["pass@1"].mean < ours["pass@4"].mean < 1
    assert ours["pass@1"].mean == pytest.approx(theirs["eval_data_pass1"])
    assert ours["pass@4"].mean == pytest.approx(theirs["eval_data_pass4"])
    assert ours["truncated"].mean == pytest.approx(theirs["eval_data_truncated_rate"])


def test_the_prompts_of_the_appendix():
    def template(message, system):
        return f"<user>{message}<assistant>" if system is None else f"<system>{system}<user>{message}<assistant>"

    sentence = r"Please reason step by step, and put your final answer within \boxed{}."
    assert render_prompt("chat", "1+{1}?", template) == "<user>1+{1}?<assistant>"
    assert render_prompt("chat_boxed", "1+{1}?", template) == f"<user>1+{{1}}? {sentence}<assistant>"
    assert render_prompt("alpaca", "1+{1}?", template) == (
        "Below is an instruction that describes a task. Write a response that appropriately completes the request."
        f"\n\n### Instruction:\n1+{{1}}?\n{sentence}\n\n### Response: Let's think step by step."
    )
    assert render_prompt("qwen25_math", "1?", template) == f"<system>{sentence}<user>1?<assistant>"
    assert render_prompt("qwen2_boxed", "1?", template) == (
        f"<system>You are a helpful assistant.<user>1?\n{sentence}<assistant>"
    )
    assert render_prompt("eurus", "1?", template, "Act.") == (
        "<system>Act.<user>1?\n\nPresent the answer in LaTex format: \\boxed{Your answer}<assistant>"
    )
    assert render_prompt("chat_boxed", "1?", template, "Act.") == f"<system>Act.<user>1? {sentence}<assistant>"


def test_the_prompt_of_a_model_family():
    assert choose_prompt("auto", "Qwen/Qwen2-7B-Instruct", has_chat_template=True) == "chat_boxed"
    assert choose_prompt("auto", "runs/metamath-marge", has_chat_template=True) == "alpaca"
    assert choose_prompt("auto", "runs/trained", has_chat_template=False) == "alpaca"
    assert choose_prompt("auto", "runs/metamathqa/GRPO/seed_0/model", has_chat_template=True) == "chat_boxed"
    assert choose_prompt("chat", "runs/metamath-marge", has_chat_template=True) == "chat"
    with pytest.raises(ValueError, match="--prompt chat needs a chat template and the tokenizer of --model m has no"):
        choose_prompt("chat", "m", has_chat_template=False)
    with pytest.raises(ValueError, match="--prompt eurus needs --system_prompt FILE"):
        choose_prompt("eurus", "m", has_chat_template=True)
    assert choose_prompt("eurus", "m", has_chat_template=True, system="Act.") == "eurus"
    for name, has_chat_template in (("alpaca", True), ("auto", False)):
        with pytest.raises(ValueError, match="--system_prompt needs a chat template"):
            choose_prompt(name, "m", has_chat_template, system="Act.")


def test_a_chat_template_that_knows_no_system_is_named(tmp_path):
    tokenizer = build_tokenizer()
    tokenizer.chat_template = (
        "{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
        "{{ messages[0]['content'] }}"
    )
    tokenizer.save_pretrained(tmp_path)
    assert Prompter(str(tmp_path), "chat", "").prompt("1?").text == "1?"
    with pytest.raises(ValueError, match="--prompt qwen25_math: the model's chat template refuses it: System"):
        Prompter(str(tmp_path), "qwen25_math", "").prompt("1?")


def test_two_data_sets_of_one_name_are_refused(tmp_path):
    """One would stand for both."""
    of = {data: {"data": data, "problems": 1, "pass@1": 0.5} for data in ("algebra/test.jsonl", "geometry/test.jsonl")}
    write_json(tmp_path / "r.json", of)
    with pytest.raises(ValueError, match="has two data sets of one name"):
        read_results(tmp_path / "r.json")
    with pytest.raises(SystemExit):
        parse_args(["--model", "m", "--data", "a/test.jsonl", "b/test.parquet", "--out", "x.json"], "")


def test_correct_answers_that_differ_are_told_apart():
    """Two ways to reach a target, and one wrong answer twice: the majority of all four is wrong."""
    answers = [("1+2", True), ("4-1", True), ("2*2", False), ("2*2", False)]
    sampled = [Response(a, a, right, "correct" if right else "wrong", False) for a, right in answers]
    assert problem_metrics(sampled, [], (4,), one_answer=False)["maj@4"] == 0
    assert problem_metrics(sampled, [], (4,))["maj@4"] == 0.5  # as to a math problem, where they are one answer
    # Of the 6 pairs, 1 has both correct ones, 4 a tie of a correct and a wrong one, 1 the wrong answer twice.
    assert problem_metrics(sampled, [], (2,), one_answer=False)["maj@2"] == pytest.approx((1 + 4 / 2) / 6)


@pytest.mark.parametrize("several", [False, True])
def test_results_are_read_as_they_were_written(tmp_path, several):
    """The order of the keys, too: a loop's summary holds its results."""
    one = {
        "data": "x/heldout.jsonl", "problems": 1, "n": 4, "top_p": 0.95, "pass@1": 0.25, "pass@1_standard_error": None,
        "truncated": 0.5, "truncated_standard_error": None,
    }  # fmt: skip
    write_json(tmp_path / "r.json", {"x/heldout.jsonl": one, "gsm8k=y": one} if several else one)
    results = read_results(tmp_path / "r.json")
    assert list(results) == ["heldout", "gsm8k"][: 1 + several]
    result = results["heldout"]
    assert list(result.as_dict().items()) == list(one.items())
    assert result.scores == {"pass@1": Estimate(0.25, None)} and result.told["top_p"] == 0.95
