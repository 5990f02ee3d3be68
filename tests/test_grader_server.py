"""The reward server in a process of its own, asked by OpenRLHF's own client."""

import asyncio
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
from openrlhf_marge.host.rewards import RewardClient

START_SECONDS = 120  # it takes 2; the rest is for a loaded machine
LOGS = ("grader_no_answer", "grader_unparsable", "grader_timeout", "grader_error", "grader_wait_seconds")
# The server with a grader whose verdict is the response itself, so that a broken one can be had.
SCRIPTED = """
import sys
from openrlhf_marge import batch_grading
from openrlhf_marge.cli import serve_grader
from openrlhf_marge.grading import Grade
batch_grading.grade = lambda response, gold, symbolic: Grade(response == "correct", response)
serve_grader.main(sys.argv[1:])
"""


class Server:
    """A started server; ``log`` is what it has written."""

    def __init__(self, folder, *command: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.address, self._log = f"http://127.0.0.1:{port}", folder / "log"
        with self._log.open("w") as log:
            flags = ["--host", "127.0.0.1", "--port", str(port), "--workers", "2"]
            self.process = subprocess.Popen([sys.executable, *command, *flags], stdout=log, stderr=log)

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

    def ask(self, path: str, body: bytes | None = None) -> tuple[int, dict]:
        try:
            with urllib.request.urlopen(urllib.request.Request(self.address + path, data=body), timeout=60) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as e:
            return e.code, json.load(e)

    def stop(self) -> int:
        self.process.terminate()
        return self.process.wait(timeout=60)


def started(folder, *command: str):
    server = Server(folder, *command)
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


@pytest.mark.parametrize("name", ["MARGE_GRADER_MAX_FAILURES", "MARGE_GRADER_SECONDS"])
def test_a_bad_setting_ends_the_start_with_a_sentence(name):
    command = [sys.executable, "-m", "openrlhf_marge.cli.serve_grader", "--port", "1"]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {name: "many"})
    assert done.returncode == 1
    assert done.stderr.startswith(f"serve_grader: error: {name}") and done.stderr.count("\n") == 1


def test_the_server_needs_no_torch():
    code = "import sys, openrlhf_marge.cli.serve_grader; print([m for m in ('torch', 'openrlhf') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
