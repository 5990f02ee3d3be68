"""What reward servers may answer: a reward, or an error that names the server, and never a zero that nobody gave."""

import asyncio
import json
import socket
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytest.importorskip("openrlhf", reason="the host is not installed")

from openrlhf.utils import agent

from openrlhf_marge.host.rollout.reward_client import RewardClient

from hostile import DEEPER, damaged, swapped

GOOD = {"rewards": [0.5], "scores": [1.0], "extra_logs": {"graded": [1.0]}}


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    """The client tries five times, a second apart."""
    there = vars(asyncio) | {"sleep": lambda seconds: asyncio.sleep(0)}
    monkeypatch.setattr(agent, "asyncio", SimpleNamespace(**there))


def graded(*answers: bytes):
    """The reward that a client gets from a server that sends these bytes, the last ones again and again."""

    async def grade():
        sent = []

        async def serve(reader, writer):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answers[min(len(sent), len(answers) - 1)])
            sent.append(1)
            writer.close()

        with socket.create_server(("127.0.0.1", 0)) as listener:
            url = f"http://127.0.0.1:{listener.getsockname()[1]}/get_reward"
            async with await asyncio.start_server(serve, sock=listener):
                client = RewardClient([url])
                try:
                    (reward,) = await client.grade("Q: ", "7", ["7"])
                except RuntimeError as e:
                    assert str(e).startswith(f"--reward.remote_url {url} failed on the problem 'Q: ' with label '7': ")
                    return None
                return reward

    return asyncio.run(grade())


def http(body: bytes, kind: str = "application/json", status: str = "200 OK") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


ANSWER = http(json.dumps(GOOD).encode())


@settings(max_examples=40, suppress_health_check=list(HealthCheck))
@given(damaged(ANSWER) | swapped(GOOD).map(http) | st.binary(max_size=50).map(http))
def test_any_answer_is_a_reward_that_was_given_or_an_error(answer):
    reward = graded(bytes(answer))
    assert reward is None or 0.0 <= reward.value <= 1.0
    if reward is not None and reward.value == 0.0:
        assert b"0" in answer or b"false" in answer


@pytest.mark.parametrize(
    "answer",
    [
        b"", b"\0" * 100, http(b""), http(b"null"), http(b"{}"), http(b"[]"), http(b'{"rewards": null}'),
        http(b'{"rewards": []}'), http(b'{"rewards": [0, 1]}'), http(b'{"rewards": NaN}'), http(b'{"rewards": -0.5}'),
        http(b'{"rewards": 1e999}'), http(DEEPER.encode()), http(b'{"rewards": 0}', "text/html"),
        http(b'{"rewards": 0}', status="500 Internal Server Error"), http(b'{"rewards": 0}')[:-3],
        http(json.dumps(GOOD).encode("utf-16")), http(b'{"rewards": "\xff"}'),
    ],
)  # fmt: skip
def test_no_answer_is_an_error_and_no_zero(answer):
    assert graded(answer) is None


def test_a_server_that_restarts_is_asked_again():
    assert graded(b"", http(b"", status="503 Service Unavailable"), b"HTTP/1.1", ANSWER).value == 0.5
