"""OpenRLHF's reward function over the grader, and the guard that stops it when the grader is broken."""

import importlib.util
import re
from concurrent.futures import ThreadPoolExecutor

import pytest

from openrlhf_marge import REWARD_FILE
from openrlhf_marge.grading import REASONS, Grade
from openrlhf_marge.grading.errors import GraderUnavailable
from openrlhf_marge.grading.pool import GraderPool
from openrlhf_marge.rewards import batch as batch_grading
from openrlhf_marge.rewards.guard import LEAST, VARIABLE, WINDOW, GraderGuard, max_failures, process_guard


@pytest.fixture
def scripted(monkeypatch):
    """A grader whose verdict is the response itself: one of REASONS."""

    def grade(response, gold, symbolic):
        symbolic.keywords["budget"].waited = 0.25 * REASONS.index(response)
        return Grade(response == "correct", response)

    monkeypatch.setattr(batch_grading, "grade", grade)


@pytest.fixture
def reward_func(monkeypatch):
    """The function of the file, loaded as OpenRLHF loads it, with a guard of its own."""
    pytest.importorskip("torch")
    spec = importlib.util.spec_from_file_location("reward_func", REWARD_FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.GUARD is process_guard()
    monkeypatch.setattr(module, "GUARD", GraderGuard())
    return module.reward_func


def record(guard: GraderGuard, reason: str, times: int) -> None:
    for _ in range(times):
        guard.record(Grade(reason == "correct", reason), "the answer", "the gold")


def test_rewards_and_logs_have_one_number_per_query(reward_func, scripted):
    returned = reward_func([f"P {reason}" for reason in REASONS], ["P "] * len(REASONS), ["1"] * len(REASONS))
    assert returned["rewards"].tolist() == returned["scores"].tolist() == [1.0, 0.0, 0.0, 0.0, 0.0, 0.0]
    assert {name: tensor.tolist() for name, tensor in returned["extra_logs"].items()} == {
        "grader_no_answer": [0.0, 0.0, 1.0, 0.0, 0.0, 0.0],
        "grader_unparsable": [0.0, 0.0, 0.0, 1.0, 0.0, 0.0],
        "grader_timeout": [0.0, 0.0, 0.0, 0.0, 1.0, 0.0],
        "grader_error": [0.0, 0.0, 0.0, 0.0, 0.0, 1.0],
        "grader_wait_seconds": [0.0, 0.25, 0.5, 0.75, 1.0, 1.25],
    }
    for tensor in (returned["rewards"], *returned["extra_logs"].values()):
        assert tensor.dtype.is_floating_point and tensor.shape == (6,)


def test_the_real_grader_and_never_the_answer_in_the_prompt(reward_func):
    prompt = r"Put the answer in \boxed{7}. "
    queries = [prompt + r"It is \boxed{7}.", prompt + "I do not know.", prompt + r"\boxed{8}"]
    returned = reward_func(queries, [prompt] * 3, ["7", "7", 7])
    assert returned["rewards"].tolist() == [1.0, 0.0, 0.0]
    assert returned["extra_logs"]["grader_no_answer"].tolist() == [0.0, 1.0, 0.0]


@pytest.mark.parametrize(
    ("queries", "prompts", "labels", "sentence"),
    [
        (["pa"], ["p", "p"], ["1"], "got 1 queries, 2 prompts and 1 labels"),
        (["pa"], ["p"], [" "], "a label is empty; set --data.label_key"),
        (["pa"], ["p"], [None], "a label is empty; set --data.label_key"),
        (["xa"], ["p"], ["1"], "does not start with its prompt"),
    ],
)
def test_what_cannot_be_graded_is_an_error_and_no_zero(reward_func, queries, prompts, labels, sentence):
    with pytest.raises(ValueError, match=sentence):
        reward_func(queries, prompts, labels)


def test_the_guard_stops_the_reward_function_with_one_sentence(reward_func, scripted):
    with pytest.raises(RuntimeError) as error:
        for _ in range(LEAST):
            reward_func(["P timeout"], ["P "], ["41"])
    assert str(error.value) == (
        "the grader failed on 100.0% of the last 50 answers, more than MARGE_GRADER_MAX_FAILURES 0.2, last with "
        "'timeout' on an answer that ends in 'timeout' for the gold answer '41'; raise MARGE_GRADER_SECONDS, or look "
        "at such answers"
    )


def test_a_grader_that_cannot_run_is_an_error_and_no_zero(reward_func, monkeypatch):
    def no_process(*_):
        raise GraderUnavailable("the grader's process ended at its start")

    monkeypatch.setattr(GraderPool, "symbolically_equal", lambda *_, **__: no_process())
    with pytest.raises(GraderUnavailable, match="ended at its start"):
        reward_func([r"P \boxed{x+x+y}"], ["P "], [r"2x+y"])
    assert reward_func([r"P \boxed{7}"], ["P "], ["7"])["rewards"].tolist() == [1.0]  # needs none


@pytest.mark.parametrize("failure", ["timeout", "error"])
def test_the_guard_holds_at_the_share_and_trips_above(failure):
    guard = GraderGuard(0.2)
    record(guard, "wrong", 160)
    record(guard, failure, 40)
    assert guard.failure_share == 0.2
    with pytest.raises(RuntimeError, match=f"20.5% of the last 200 answers.*'{failure}'"):
        record(guard, failure, 1)


def test_answers_that_the_grader_could_not_read_are_no_failures():
    guard = GraderGuard(0.0)
    record(guard, "unparsable", WINDOW)
    record(guard, "no_answer", WINDOW)
    assert guard.counts["unparsable"] == guard.counts["no_answer"] == WINDOW


def test_before_the_first_50_nothing_is_said():
    guard = GraderGuard(0.2)
    record(guard, "error", LEAST - 1)
    with pytest.raises(RuntimeError):
        record(guard, "correct", 1)


def test_only_the_last_200_count():
    guard = GraderGuard(0.2)
    record(guard, "error", LEAST - 1)
    with pytest.raises(RuntimeError):
        record(guard, "wrong", 1)
    for _ in range(WINDOW):  # it goes on counting, and says so as long as it is true
        try:
            record(guard, "wrong", 1)
        except RuntimeError as e:
            assert re.search(r"failed on \d\d\.\d% of the last", str(e))
    record(guard, "wrong", 1)
    assert guard.failure_share == 0.0 and guard.counts == dict.fromkeys(REASONS, 0) | {"wrong": 202, "error": 49}


def test_the_guard_counts_right_in_many_threads():
    guard = GraderGuard(1.0)
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda reason: record(guard, reason, 500), ("correct", "wrong", "timeout", "error") * 4))
    assert guard.counts == dict.fromkeys(REASONS, 0) | dict.fromkeys(("correct", "wrong", "timeout", "error"), 2000)


def test_the_limit_comes_from_the_environment(monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    assert max_failures() == 0.2
    monkeypatch.setenv(VARIABLE, "0.05")
    assert max_failures() == 0.05


@pytest.mark.parametrize("text", ["", "many", "-0.1", "1.5", "nan"])
def test_a_bad_limit_is_named(monkeypatch, text):
    monkeypatch.setenv(VARIABLE, text)
    with pytest.raises(ValueError, match=f"MARGE_GRADER_MAX_FAILURES is '{text}'; it must be a number from 0 to 1"):
        max_failures()
