"""The sampler on stand-ins for engines, and the reward client on a server: what is asked, and how much at once."""

import asyncio
import math
import socket
from types import SimpleNamespace

import pytest

pytest.importorskip("openrlhf", reason="the host is not installed")

from aiohttp import web
from vllm.logprobs import FlatLogprobs, Logprob

from openrlhf_marge.arithmetic.model import build_tokenizer
from openrlhf_marge.host.rollout import dispatch, tokens
from openrlhf_marge.host.rollout import reward_client as rewards
from openrlhf_marge.host.rollout.engine_outputs import before_stop_text, sampled_log_probs
from openrlhf_marge.host.rollout.reward_client import RewardClient
from openrlhf_marge.host.rollout.sampler import EngineSampler
from openrlhf_marge.rewards.returned import parse_reward

from factories import problem

RAY_CALLS = 1000  # that an actor serves at once unless told otherwise


class Engine:
    """An actor as Ray has it; ``pause_generation`` holds back what is being generated until it is resumed."""

    def __init__(self) -> None:
        self._calls, self._running = asyncio.Semaphore(RAY_CALLS), asyncio.Event()
        self._running.set()
        self.in_flight = self.most = 0
        self.asked: list[tuple[list[int], object]] = []
        self.generate = SimpleNamespace(remote=self._generate)

    async def _generate(self, prompt_ids, params):
        self.asked.append((prompt_ids, params))
        self.in_flight += 1
        self.most = max(self.most, self.in_flight)
        async with self._calls:
            await asyncio.sleep(0)
            await self._running.wait()
        self.in_flight -= 1
        output = SimpleNamespace(token_ids=[5], finish_reason="stop", stop_reason=None, logprobs=None)
        return SimpleNamespace(outputs=[output] * params.n, num_cached_tokens=4)

    async def pause(self) -> None:
        async with self._calls:
            self._running.clear()

    async def resume(self) -> None:
        async with self._calls:
            self._running.set()


class Rewards:
    def __init__(self) -> None:
        self.asked = []

    async def grade(self, prompt, label, responses):
        self.asked.append((prompt, label, list(responses)))
        return [parse_reward({"rewards": 1.0})] * len(responses)


async def version_0() -> int:
    return 0


def sampler_on(engines, graded=None, weight_version=version_0, tokenizer=None, stop=()) -> EngineSampler:
    return EngineSampler(
        engines, graded or Rewards(), tokenizer or SimpleNamespace(decode=lambda *_, **__: ""), temperature=0.8,
        top_p=0.95, with_log_probs=False, seeded=True, weight_version=weight_version, stop=stop,
    )  # fmt: skip


def test_a_judgement_is_the_probability_of_a_token_that_alone_is_allowed():
    engine = Engine()

    async def generate(prompt_ids, params):
        engine.asked.append((prompt_ids, params))
        log_probs = [{7: SimpleNamespace(logprob=math.log(0.6))}]
        output = SimpleNamespace(token_ids=[7], logprobs=log_probs, finish_reason="length")
        return SimpleNamespace(outputs=[output], num_cached_tokens=2)

    engine.generate = SimpleNamespace(remote=generate)
    asked = problem(prompt_ids=(1, 2))
    answer = asyncio.run(sampler_on([engine]).judged(asked, (3, 4), 7))
    assert (answer.token_ids, answer.is_correct) == ((7,), True) and answer.reward == pytest.approx(0.6)
    ((ids, params),) = engine.asked
    assert ids == [1, 2, 3, 4] and params.allowed_token_ids == [7] and params.logprobs == 1
    assert (params.max_tokens, params.temperature, params.n) == (1, 0.0, 1)


def test_log_probs_of_the_sampled_tokens_are_read_from_dicts_and_from_flat_lists():
    nested = [{4: Logprob(-1.0), 9: Logprob(-0.5)}, {9: Logprob(-0.25)}, {7: Logprob(-2.0), 8: Logprob(-0.1)}]
    flat = FlatLogprobs()
    flat.extend(nested)
    for log_probs in (nested, flat):
        output = SimpleNamespace(token_ids=[4, 9, 7], logprobs=log_probs)
        assert sampled_log_probs(output, 3) == (-1.0, -0.25, -2.0)
        assert sampled_log_probs(output, 2) == (-1.0, -0.25)
    with pytest.raises(ValueError, match="its log-probs are of other tokens than those that it sampled"):
        sampled_log_probs(SimpleNamespace(token_ids=[4, 9, 8], logprobs=flat), 3)
    assert sampled_log_probs(SimpleNamespace(token_ids=[4], logprobs=None), 1) is None


def test_several_clients_ask_a_server_for_no_more_at_once_than_one():
    most = [RewardClient(["http://localhost:1"] * 2, clients=n)._most_requests for n in (1, 3, 500)]
    assert most == [128, 42, 1]


def test_the_grader_gets_the_bare_prompt_and_prefix_with_completion():
    """One request per state; what is graded is prompt + guidance prefix + completion (Eq. 1)."""
    tokenizer, graded, versions = build_tokenizer(), Rewards(), iter((6, 7))
    ids = tokens.encode(tokenizer, "Step 1: 9")
    asked = tokens.make_problem(tokenizer, "Q", "9", 64, 20)

    async def weight_version():
        return next(versions)

    async def complete():
        engine = Engine()
        sampling = sampler_on([engine], graded, weight_version, tokenizer)
        return engine, sampling, await sampling.complete(asked, ids, 3, seed=11)

    engine, sampling, completions = asyncio.run(complete())
    ((prompt_ids, params),) = engine.asked
    assert prompt_ids == [*asked.prompt_ids, *ids]
    assert (params.n, params.max_tokens, params.seed) == (3, 20 - len(ids), 11)
    assert completions[0].weight_versions == (6, 7)
    assert sampling.counts["cached_prompt_tokens"] == 4
    assert graded.asked == [("Q", "9", ["Step 1: 9" + tokenizer.decode([5])] * 3)]
    assert [c.token_ids for c in completions] == [(5,)] * 3


def test_a_completion_ends_with_the_token_that_completes_a_stop_text_and_is_graded_without_it():
    """vLLM may have sampled on before it sees the text; the length limit may cut a completion before it is whole."""
    tokenizer, graded = build_tokenizer(), Rewards()
    asked = tokens.make_problem(tokenizer, "Q", "9", 64, 40)
    prefix, long, short = (tokens.encode(tokenizer, text) for text in ("Step 1: ", "9\nQuestion: 1", "8\nQues"))
    outputs = [
        SimpleNamespace(token_ids=list(long), finish_reason="stop", stop_reason="\nQuestion:", logprobs=None),
        SimpleNamespace(token_ids=list(short), finish_reason="length", stop_reason=None, logprobs=None),
    ]
    engine = Engine()

    async def generate(prompt_ids, params):
        engine.asked.append((prompt_ids, params))
        return SimpleNamespace(outputs=outputs, num_cached_tokens=0)

    engine.generate = SimpleNamespace(remote=generate)
    sampling = sampler_on([engine], graded, tokenizer=tokenizer, stop=("\nQuestion:",))
    stopped, cut = asyncio.run(sampling.complete(asked, prefix, 2, seed=0))
    assert (engine.asked[0][1].stop, engine.asked[0][1].detokenize) == (["\nQuestion:"], True)
    assert engine.asked[0][1].min_tokens == 0  # of the first so many tokens vLLM would not see a stop text
    assert tokenizer.decode(stopped.token_ids) == "9\nQuestion:" and not stopped.truncated
    assert cut.token_ids == short and cut.truncated
    assert graded.asked == [("Q", "9", ["Step 1: 9", "Step 1: 8\nQues"])]


def test_however_many_states_there_are_an_engine_is_paused_and_resumed_at_once():
    """2,048 problems of 4.42 states on 8 engines: 1,131 states each, more than an actor takes calls."""

    async def turns() -> None:
        for _ in range(100):  # of the event loop: whoever can go on has done so
            await asyncio.sleep(0)

    async def run():
        engines = [Engine() for _ in range(8)]
        sampling = sampler_on(engines)
        for engine in engines:
            await engine.pause()
        states = [(problem(f"p{i}"), (j,)) for i in range(2048) for j in range(5 if i % 50 < 21 else 4)]
        assert len(states) / 8 == pytest.approx(1131, abs=1)
        requests = [asyncio.ensure_future(sampling.complete(of, prefix, 8, seed=0)) for of, prefix in states]
        await turns()
        assert [engine.in_flight for engine in engines] == [dispatch.COMPLETIONS_PER_ENGINE // 8] * 8
        resumes = [asyncio.ensure_future(engine.resume()) for engine in engines]
        await turns()
        assert all(resumed.done() for resumed in resumes)
        assert [len(completions) for completions in await asyncio.gather(*requests)] == [8] * len(states)
        return engines

    engines = asyncio.run(run())
    assert [engine.most for engine in engines] == [64] * 8
    assert sum(len(engine.asked) for engine in engines) == 2048 * 4 + 861


def test_a_waiting_request_goes_to_the_next_engine_and_has_the_weights_of_when_it_is_sent(monkeypatch):
    monkeypatch.setattr(dispatch, "COMPLETIONS_PER_ENGINE", 1)

    async def run():
        engines = [Engine() for _ in range(3)]

        async def answered() -> int:
            return sum(len(e.asked) - e.in_flight for e in engines[:1])

        sampling = sampler_on(engines, weight_version=answered)
        found = await asyncio.gather(
            *(sampling.complete(problem(f"p{i}", prompt_ids=(i,)), (), 2, 0) for i in range(9))
        )
        return [[ids[0] for ids, _ in e.asked] for e in engines], [found[i][0].weight_versions for i in (0, 3, 6)]

    of_engines, versions = asyncio.run(run())
    assert of_engines == [[0, 3, 6], [1, 4, 7], [2, 5, 8]]
    assert versions == [(0, 1), (1, 2), (2, 3)]


def test_reward_requests_over_http_are_bounded_in_every_rollout(monkeypatch):
    """A rollout is an event loop of its own, the client one for all."""
    monkeypatch.setattr(rewards, "REQUESTS_PER_SERVER", 3)
    in_flight, most = 0, []

    async def answer(request):
        nonlocal in_flight
        in_flight += 1
        most.append(in_flight)
        await asyncio.sleep(0.01)
        in_flight -= 1
        (query,) = (await request.json())["query"]
        return web.json_response({"rewards": float(query.endswith("1"))})

    async def rollout(client):
        application = web.Application()
        application.router.add_post("/", answer)
        runner = web.AppRunner(application)
        await runner.setup()
        await web.SockSite(runner, socket.create_server(address)).start()
        try:
            return await client.grade("Q:", "1", [str(i % 2) for i in range(40)])
        finally:
            await runner.cleanup()

    with socket.create_server(("127.0.0.1", 0)) as free:
        address = free.getsockname()
    client = RewardClient([f"http://127.0.0.1:{address[1]}/"])
    for _ in range(2):
        assert [r.value for r in asyncio.run(rollout(client))] == [0.0, 1.0] * 20
    assert max(most) == 3 and len(most) == 80


def test_a_completion_has_the_room_that_the_prefix_leaves():
    engine = Engine()
    tokenizer = SimpleNamespace(decode=lambda *_, **__: "")
    asyncio.run(sampler_on([engine], tokenizer=tokenizer).complete(problem(room=10), (7, 8, 9), 2, 5))
    ((_, params),) = engine.asked
    assert (params.max_tokens, params.n, params.seed, params.top_k, params.min_tokens) == (7, 2, 5, -1, 1)


def test_a_stop_text_in_the_guidance_is_not_the_one_that_ended_the_response():
    assert before_stop_text("a\n\nb\n\nc\n\n", "\n\n") == "a\n\nb\n\nc"


def test_an_unlikely_yes_is_no_and_unseeded_requests_have_no_seed():
    engine = Engine()

    async def generate(prompt_ids, params):
        output = SimpleNamespace(
            token_ids=[7], logprobs=[{7: SimpleNamespace(logprob=math.log(0.4))}], finish_reason="length"
        )
        return SimpleNamespace(outputs=[output], num_cached_tokens=2)

    engine.generate = SimpleNamespace(remote=generate)
    assert not asyncio.run(sampler_on([engine]).judged(problem(), (3, 4), 7)).is_correct
    engine = Engine()
    unseeded = EngineSampler(
        [engine],
        Rewards(),
        SimpleNamespace(decode=lambda *_, **__: ""),
        temperature=0.8,
        top_p=0.95,
        with_log_probs=False,
        seeded=False,
        weight_version=version_0,
    )
    asyncio.run(unseeded.complete(problem(), (), 1, 5))
    assert engine.asked[0][1].seed is None
