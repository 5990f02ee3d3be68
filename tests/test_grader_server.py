"""The reward server in a process of its own, asked by OpenRLHF's own client."""

import asyncio
import base64
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest

pytest.importorskip("openrlhf", reason="the host is not installed")
pytest.importorskip("fastapi", reason="the server's packages are not installed")

import torch
from openrlhf.trainer.ppo_utils.experience import Experience
from openrlhf.trainer.ppo_utils.samples_generator import SamplesGenerator
from openrlhf.utils.agent import SingleTurnAgentExecutor

from openrlhf_marge.cli import serve_grader
from openrlhf_marge.host.rollout.reward_client import RewardClient
from openrlhf_marge.rewards.http_bounds import check_address

START_SECONDS = 120  # it takes 2; the rest is for a loaded machine
LOGS = ("grader_no_answer", "grader_unparsable", "grader_timeout", "grader_error", "grader_wait_seconds")
# The server with a grader whose verdict is the response itself, so that a broken one can be had.
SCRIPTED = """
import sys
from openrlhf_marge.rewards import batch as batch_grading
from openrlhf_marge.cli import serve_grader
from openrlhf_marge.grading import Grade
batch_grading.grade = lambda response, gold, symbolic: Grade(response == "correct", response)
serve_grader.main(sys.argv[1:])
"""
SECONDS = 1.0  # that the bounded server waits for a whole request; it grades longer than that
BOUNDED = f"""
import sys, time
from openrlhf_marge.rewards import batch as batch_grading
from openrlhf_marge.cli import serve_grader
from openrlhf_marge.rewards import http_bounds
from openrlhf_marge.grading import Grade
http_bounds.TimedProtocol.seconds = {SECONDS}
http_bounds.MAX_HELD = 1000
batch_grading.grade = lambda response, gold, symbolic: time.sleep({2 * SECONDS}) or Grade(True, "correct")
serve_grader.main(sys.argv[1:])
"""


class Server:
    """A started server; ``log`` is what it has written."""

    def __init__(self, folder, *command: str, token: str = "") -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.port, self.address, self._log = port, f"http://127.0.0.1:{port}", folder / "log"
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        environment = os.environ | {"MARGE_GRADER_TOKEN": token}
        with self._log.open("w") as log:
            flags = ["--host", "127.0.0.1", "--port", str(port), "--workers", "2"]
            self.process = subprocess.Popen(
                [sys.executable, *command, *flags], stdout=log, stderr=log, env=environment
            )

    @property
    def log(self) -> str:
        return self._log.read_text()

    def wait(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while self.process.poll() is None and time.monotonic() < deadline:
            try:
                self.ask("/health")
                return
            except OSError:
                time.sleep(0.1)
        raise AssertionError(f"the server did not start (exit status {self.process.poll()}): {self.log}")

    def ask(self, path: str, body: bytes | None = None, headers: dict | None = None) -> tuple[int, dict]:
        request = urllib.request.Request(self.address + path, data=body, headers=headers or self._headers)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as e:
            return e.code, json.load(e)

    def stop(self) -> int:
        self.process.terminate()
        return self.process.wait(timeout=60)


def started(folder, *command: str, token: str = ""):
    server = Server(folder, *command, token=token)
    try:
        server.wait()
        yield server
    finally:
        if server.process.poll() is None:
            server.process.kill()
            server.process.wait()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    yield from started(tmp_path_factory.mktemp("server"), "-m", "openrlhf_marge.cli.serve_grader")


@pytest.fixture
def scripted_server(tmp_path):
    yield from started(tmp_path, "-c", SCRIPTED)


@pytest.fixture(scope="module")
def bounded_server(tmp_path_factory):
    yield from started(tmp_path_factory.mktemp("bounded"), "-c", BOUNDED)


@pytest.fixture(scope="module")
def closed_server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("closed")
    yield from started(folder, "-m", "openrlhf_marge.cli.serve_grader", token="pa55word-of-the-grader")


def request(**changes) -> bytes:
    good = {"query": ["Q: a", "Q: b"], "prompts": ["Q:", "Q:"], "labels": ["1", "2"]}
    return json.dumps({k: v for k, v in (good | changes).items() if v is not ...}).encode()


def test_openrlhfs_client_gets_what_it_wants_for_one_query(server):
    client = SingleTurnAgentExecutor([server.address + "/get_reward"])
    (returned,) = asyncio.run(client._fetch_rewards_via_http([r"Q: \boxed{1/2}"], ["Q:"], ["0.5"]))
    assert returned == {"rewards": [1.0], "scores": [1.0], "extra_logs": {name: [0.0] for name in LOGS}}
    # What OpenRLHF then makes of it, batches included.
    generator = SamplesGenerator.__new__(SamplesGenerator)
    response = {"observation_tokens": [1, 2, 3], "action_ranges": [(1, 3)], "rollout_log_probs": None, "prompt": "Q:"}
    response |= {"label": "0.5", "reward": returned["rewards"], **returned}
    one = generator._process_response_into_experience(response)
    both = Experience.concat_experiences([one, one], pad_token_id=0)
    assert both.rewards.flatten().tolist() == both.info["reward"].flatten().tolist() == [1.0, 1.0]
    assert torch.equal(both.info["grader_timeout"].flatten(), torch.zeros(2))


def test_many_queries_keep_their_order(server):
    queries = [f"Q: \\boxed{{{i}}}" for i in range(40)]
    client = SingleTurnAgentExecutor([server.address + "/get_reward"])
    (returned,) = asyncio.run(client._fetch_rewards_via_http(queries, ["Q:"] * 40, [str(i % 3) for i in range(40)]))
    assert returned["rewards"] == [1.0] * 3 + [0.0] * 37


def test_marges_client_takes_it(server):
    rewards = asyncio.run(RewardClient([server.address + "/get_reward"]).grade("Q:", "3", [r" \boxed{3}", " x"]))
    assert [(r.value, r.is_correct) for r in rewards] == [(1.0, True), (0.0, False)]
    assert dict(rewards[1].extra_logs)["grader_no_answer"] == 1.0


def test_several_servers_are_asked_in_turn(server, scripted_server):
    before = [sum(s.ask("/health")[1]["counts"].values()) for s in (server, scripted_server)]
    client = RewardClient([s.address + "/get_reward" for s in (server, scripted_server)])
    rewards = asyncio.run(client.grade("Q:", "3", ["correct"] * 10))
    after = [sum(s.ask("/health")[1]["counts"].values()) for s in (server, scripted_server)]
    assert [b - a for a, b in zip(before, after, strict=True)] == [5, 5]
    assert sum(r.value for r in rewards) == 5.0  # only the scripted one takes the word for an answer


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"{", "the request is not JSON: "),
        (b"\xff", "the request is not JSON: "),
        (b"[" * 100_000, "the request is not JSON: "),
        (b"[]", "the request is not a JSON object with the lists query, prompts, labels"),
        (request(labels=...), "the request has no list 'labels'; send the lists query, prompts, labels"),
        (request(query="Q: a"), "the request has no list 'query'"),
        (request(labels=["1", None]), "the list 'labels' of the request holds None, which is no text"),
        (request(prompts=["Q:"]), "got 2 queries, 1 prompts and 2 labels"),
        (request(labels=["1", ""]), "a label is empty"),
        (request(prompts=["Q:", "P:"]), "does not start with its prompt"),
    ],
)
def test_a_malformed_request_is_refused_with_a_sentence(server, body, sentence):
    status, answer = server.ask("/get_reward", body)
    assert status == 400 and sentence in answer["detail"]
    assert sentence in server.log  # OpenRLHF's client does not show the answer
    assert server.process.poll() is None


@pytest.mark.parametrize(
    ("body", "status", "sentence"),
    [
        (b" " * (16 * 2**20 + 1), 413, "the request has more than 16777216 bytes; send fewer queries at a time"),
        (request(query=["Q: a"] * 10_001), 400, "the list 'query' of the request has more than 10000 items; send few"),
        (request(labels=[["x" * 10**6]]), 400, "the list 'labels' of the request holds ['xxx"),
        (request(labels=[[[[[[[["\n2026 INFO all is well"]]]]]]]]), 400, "the list 'labels' of the request holds [[["),
        (request(labels=[{"\n" * 99: "\n" * 99}]), 400, "the list 'labels' of the request holds {"),
    ],
)
def test_what_is_too_large_is_refused_and_its_text_is_not_repeated(server, body, status, sentence):
    before = len(server.log)
    found, answer = server.ask("/get_reward", body)
    assert found == status and answer["detail"].startswith(sentence) and len(answer["detail"]) < 200
    logged = server.log[before:]
    assert sentence in logged and logged.count("\n") == 1 and len(logged) < 300
    assert server.ask("/health")[0] == 200


def raw(server, *parts: bytes) -> float:
    """Seconds until the server ends a connection on which these were sent, each after the answer to the one before."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as client:
        for part in parts[:-1]:
            client.sendall(part)
            client.recv(1000)
        start = time.monotonic()
        client.sendall(parts[-1])
        while client.recv(1000):
            pass
        return time.monotonic() - start


HEALTH = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST /get_reward HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n"


@pytest.mark.parametrize("parts", [[b""], [HEALTH[:20]], [POST], [POST + b"{"], [HEALTH, HEALTH[:9]], [HEALTH, POST]])
def test_a_client_that_does_not_end_its_request_is_not_waited_for(bounded_server, parts):
    before = bounded_server.log
    assert raw(bounded_server, *parts) > SECONDS / 2  # uvicorn itself would wait for ever; the socket's limit is 30 s
    assert bounded_server.ask("/health")[0] == 200
    assert "Traceback" not in bounded_server.log[len(before) :]


def test_grading_may_take_longer_than_a_request(bounded_server):
    start = time.monotonic()
    status, answer = bounded_server.ask("/get_reward", request())
    assert (status, answer["rewards"]) == (200, [1.0, 1.0]) and time.monotonic() - start > SECONDS


def test_no_more_bytes_are_held_than_there_is_room_for(bounded_server):
    large = request(query=["Q:" + "a" * 2000] * 2)
    status, answer = bounded_server.ask("/get_reward", large)
    assert (
        status == 503 and answer["detail"] == "requests of more than 1000 bytes are being read and graded; send later"
    )
    assert bounded_server.ask("/get_reward", request())[0] == 200  # they are given back


@pytest.mark.parametrize("page", ["/docs", "/redoc", "/openapi.json"])
def test_there_is_no_page_about_it(server, page):
    assert server.ask(page) == (404, {"detail": "Not Found"})


def basic(text: str) -> str:
    return "Basic " + base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    ("authorization", "status"),
    [
        ("Bearer pa55word-of-the-grader", 200),
        ("bearer pa55word-of-the-grader", 200),
        (basic("anyone:pa55word-of-the-grader"), 200),
        ("Bearer pa55word-of-the-grade", 401),
        ("Bearer \xe9", 401),
        ("Bearer", 401),
        ("Digest pa55word-of-the-grader", 401),
        (basic("pa55word-of-the-grader:"), 401),
        ("Basic !", 401),
        ("", 401),
    ],
)
def test_with_a_token_only_those_who_send_it_are_answered(closed_server, authorization, status):
    for path, body in (("/get_reward", request()), ("/health", None)):
        found, answer = closed_server.ask(path, body, {"Authorization": authorization})
        assert found == status
        if status == 401:
            assert answer == {
                "detail": "the request has no or another token; send the one that serve_grader was started with"
            }
    assert "pa55word" not in closed_server.log


def test_openrlhfs_client_sends_the_token_that_the_url_holds(closed_server):
    url = closed_server.address.replace("://", "://grader:pa55word-of-the-grader@") + "/get_reward"
    (reward,) = asyncio.run(RewardClient([url]).grade("Q:", "3", [r" \boxed{3}"]))
    assert reward.value == 1.0


@pytest.mark.parametrize(
    ("content", "sentence"), [(None, "cannot be read: "), ("\n", "is empty; write a long random word into it")]
)
def test_a_token_file_without_a_token_is_refused(tmp_path, content, sentence):
    path = tmp_path / "token"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ValueError, match=f"--token_file {path} {sentence}"):
        serve_grader.read_token(path)


def test_the_token_of_the_file_goes_before_that_of_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("MARGE_GRADER_TOKEN", "of-the-environment")
    (tmp_path / "token").write_text("of-the-file\n")
    assert serve_grader.read_token(tmp_path / "token") == "of-the-file"
    assert serve_grader.read_token(None) == "of-the-environment"


def test_a_broken_grader_is_500_with_the_sentence_and_health_tells_the_reasons(scripted_server):
    body = request(query=["Q:timeout"] * 2 + ["Q:correct"], prompts=["Q:"] * 3, labels=[1, 2, 3])
    answers = [scripted_server.ask("/get_reward", body) for _ in range(17)]
    assert [status for status, _ in answers] == [200] * 16 + [500]
    sentence = "the grader failed on 68.0% of the last 50 answers, more than MARGE_GRADER_MAX_FAILURES 0.2, last with"
    assert answers[-1][1]["detail"].startswith(sentence) and sentence in scripted_server.log
    status, health = scripted_server.ask("/health")
    assert status == 200 and health["failure_share"] == 0.68
    assert health["counts"] == {
        "correct": 16, "wrong": 0, "no_answer": 0, "unparsable": 0, "timeout": 34, "error": 0,
    }  # fmt: skip


def test_it_stops_when_it_is_told_to(scripted_server):
    assert scripted_server.stop() in (0, -15)
    assert "Traceback" not in scripted_server.log


@pytest.mark.parametrize(("flags", "sentence"), [("--workers 0", "at least 1"), ("--port 70000", "--port 70000 must")])
def test_bad_flags(capsys, flags, sentence):
    with pytest.raises(SystemExit) as error:
        serve_grader.main(flags.split())
    assert error.value.code == 2 and sentence in capsys.readouterr().err


def test_an_address_where_nothing_can_listen_is_named(capsys, monkeypatch):
    monkeypatch.setattr(serve_grader, "start_pool", lambda workers: None)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        places = {"--port {port}": "Address already in use", "--host 192.0.2.1 --port 5000": "Cannot assign requested"}
        for flags, reason in places.items():
            with pytest.raises(SystemExit) as error:
                serve_grader.main(flags.format(port=port).split())
            said = capsys.readouterr().err.splitlines()
            assert error.value.code == 2 and len(said) == 1 and said[0].startswith("serve_grader: error: --host ")
            assert f"cannot be listened at: {reason}" in said[0] and said[0].endswith("; choose another")
    with pytest.raises(ValueError, match=r"--host a\.\.b --port 5000 cannot be listened at"):
        check_address("a..b", 5000)  # no name at all
    check_address("127.0.0.1", port)


@pytest.mark.parametrize("name", ["MARGE_GRADER_MAX_FAILURES", "MARGE_GRADER_SECONDS"])
def test_a_bad_setting_ends_the_start_with_a_sentence(name):
    command = [sys.executable, "-m", "openrlhf_marge.cli.serve_grader", "--port", "1"]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {name: "many"})
    assert done.returncode == 2
    assert done.stderr.startswith(f"serve_grader: error: {name}") and done.stderr.count("\n") == 1


def test_the_server_needs_no_torch():
    code = "import sys, openrlhf_marge.cli.serve_grader; print([m for m in ('torch', 'openrlhf') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
