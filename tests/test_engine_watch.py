"""An engine that hangs ends the run in time; one whose answers take long does not. In virtual time."""

import asyncio
import gc
import weakref
from types import SimpleNamespace

import pytest

pytest.importorskip("openrlhf", reason="the host is not installed")

from openrlhf_marge.host.rollout.engine_outputs import check_outputs
from openrlhf_marge.host.rollout.engine_watch import EngineWatch

from virtual_time import run


class Engine:
    """Answers a question after so many seconds, None for never, and counts them."""

    def __init__(self, seconds: float | None, error: Exception | None = None) -> None:
        self.asked = []
        self._seconds, self._error = seconds, error
        self.reset_prefix_cache = SimpleNamespace(remote=self._reset)

    async def _reset(self):
        self.asked.append(asyncio.get_running_loop().time())
        await asyncio.sleep(1e9 if self._seconds is None else self._seconds)
        if self._error:
            raise self._error


async def answer(seconds: float) -> str:
    await asyncio.sleep(seconds)
    return "answer"


async def waited(engine: Engine, *seconds: float):
    """What is said of answers that take so many seconds, and when."""
    watch = EngineWatch(engine, 3)
    said = await asyncio.gather(*(watch.wait(answer(s)) for s in seconds), return_exceptions=True)
    return said, asyncio.get_running_loop().time()


def test_an_answer_that_takes_an_hour_is_waited_for_while_the_engine_answers():
    engine = Engine(79)
    assert run(waited(engine, 3600)) == (["answer"], 3600)
    assert 3600 / (30 + 79) - 1 <= len(engine.asked) <= 3600 / 30


def test_an_engine_that_hangs_is_named_within_two_minutes():
    engine = Engine(None)
    (error, *others), seconds = run(waited(engine, 1e6, 1e6, 1e6))
    assert str(error).startswith("vLLM engine 3 has answered nothing for 110 seconds; it hangs, so resume the run")
    assert [*map(str, others)] == [str(error)] * 2 and seconds == 110 and engine.asked == [30]


def test_the_first_that_finds_out_ends_the_rollout():
    async def rollout():
        watch = EngineWatch(engine, 0)
        try:
            await asyncio.gather(*(watch.wait(answer(1e6)) for _ in range(100)))
        except RuntimeError:
            return asyncio.get_running_loop().time()

    engine = Engine(None)
    assert run(rollout()) == 110 and engine.asked == [30]


def test_requests_that_go_on_coming_do_not_hide_that_an_engine_hangs():
    async def rollout():
        watch = EngineWatch(engine, 0)
        requests = [asyncio.ensure_future(watch.wait(answer(5)))]
        while not any(request.done() and request.exception() for request in requests):
            requests.append(asyncio.ensure_future(watch.wait(answer(1e6))))
            await asyncio.sleep(7)
        for request in requests:
            request.cancel()
        return asyncio.get_running_loop().time()

    engine = Engine(None)
    assert run(rollout()) <= 5 + 120


def test_an_engine_whose_requests_are_answered_is_asked_nothing():
    engine = Engine(None)
    said, seconds = run(waited(engine, *range(1, 300, 20)))
    assert said == ["answer"] * 15 and not engine.asked and seconds == 281


def test_one_that_waits_may_be_cancelled_and_an_engine_may_be_idle():
    async def turns():
        watch = EngineWatch(engine, 0)
        waiting = asyncio.ensure_future(watch.wait(answer(1e6)))
        await asyncio.sleep(10)
        waiting.cancel()
        await asyncio.sleep(1000)
        assert waiting.cancelled() and not engine.asked
        assert await watch.wait(answer(29)) == "answer"
        await asyncio.sleep(0)
        return asyncio.all_tasks() - {asyncio.current_task()}

    engine = Engine(None)
    assert run(turns()) == set()


def test_a_question_that_fails_is_the_error():
    (error,), _ = run(waited(Engine(1, OSError("the actor died")), 1e6))
    assert str(error) == "the actor died"


def output(ids=(5,), reason="stop"):
    return SimpleNamespace(token_ids=list(ids), finish_reason=reason)


@pytest.mark.parametrize(
    ("outputs", "said"),
    [
        ([output()], "it answered with 1 completions where 2 were asked for"),
        ([output()] * 4, "it answered with 4 completions where 2 were asked for"),
        ([], "it answered with 0 completions where 2 were asked for"),
        ([output(), output(reason="abort")], "a completion of 1 tokens ended with 'abort', so it is not whole"),
        ([output(), output(reason=None)], "a completion of 1 tokens ended with None, so it is not whole"),
        ([output(), output(ids=())], "a completion of 0 tokens ended with 'stop', so it is not whole"),
    ],
)
def test_answers_that_are_not_whole_are_refused(outputs, said):
    with pytest.raises(ValueError, match=said):
        check_outputs(outputs, 2)


def test_answers_that_are_whole_are_taken():
    check_outputs([output(), output(reason="length")], 2)


def test_nothing_of_a_rollout_is_left_for_the_garbage_collector():
    """It seldom looks at what is old, and a loop that waits for it holds a quarter of a MiB."""

    async def rollout():
        watch = EngineWatch(Engine(1), 0)
        await asyncio.gather(*(watch.wait(answer(s)) for s in (1, 40)))
        await watch.wait(answer(1))
        return weakref.ref(watch), weakref.ref(asyncio.get_running_loop())

    gc.collect()
    gc.disable()
    try:
        assert [left() for left in run(rollout())] == [None, None]
    finally:
        gc.enable()
