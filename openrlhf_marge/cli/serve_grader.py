"""The package's grader as a reward server for OpenRLHF, in place of its own openrlhf.cli.serve_rm.

    python -m openrlhf_marge.cli.serve_grader --host 127.0.0.1 --port 5000

Then --reward.remote_url http://HOST:5000/get_reward. GET /health tells the verdicts so far by reason. With a token,
from --token_file or MARGE_GRADER_TOKEN, it answers only those who send it: as "Authorization: Bearer TOKEN", or in the
URL, as OpenRLHF's client can: http://grader:TOKEN@HOST:5000/get_reward.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import reprlib
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import uvicorn
from fastapi import Depends, FastAPI, Request
from fastapi.responses import JSONResponse

from openrlhf_marge.models import one_line
from openrlhf_marge.rewards.batch import grade_batch
from openrlhf_marge.rewards.guard import GraderGuard, process_guard
from openrlhf_marge.rewards.http_bounds import Bodies, Refused, TimedProtocol, check_address, has_token
from openrlhf_marge.rewards.workers import add_workers, check_workers, start_pool

logger = logging.getLogger("uvicorn.error")  # uvicorn's log on the terminal; its name does not mean errors only
TEXT, LABEL = (str,), (str, int, float)
LISTS = {"query": TEXT, "prompts": TEXT, "labels": LABEL}  # of a request: what their items may be
MAX_ITEMS = 10_000  # of such a list; OpenRLHF sends one query a request
TOKEN_VARIABLE = "MARGE_GRADER_TOKEN"
LOOPBACK = ("127.0.0.1", "::1", "localhost")


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on; 0.0.0.0: all [default 127.0.0.1]")
    parser.add_argument("--port", type=int, default=5000, help="port [default 5000]")
    parser.add_argument("--token_file", type=Path, help=f"file with the token [that in {TOKEN_VARIABLE}, if any]")
    add_workers(parser)
    args = parser.parse_args(argv)
    check_workers(parser, args.workers)
    if not 0 < args.port < 2**16:
        parser.error(f"--port {args.port} must lie between 1 and {2**16 - 1}")
    return args


def read_token(path: Path | None) -> str:
    """The token of the file or the environment, "" without one; ValueError when the file has none."""
    if path is None:
        return os.environ.get(TOKEN_VARIABLE, "").strip()
    try:
        token = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as e:
        raise ValueError(f"--token_file {path} cannot be read: {e}") from e
    if not token:
        raise ValueError(f"--token_file {path} is empty; write a long random word into it")
    return token


def read_request(body: bytes | bytearray) -> tuple[list[str], list[str], list]:
    """Queries, prompts and labels; ValueError with one sentence for what is not a reward request."""
    try:
        data = json.loads(body)
    except (ValueError, RecursionError) as e:
        raise ValueError(f"the request is not JSON: {e}") from e
    if not isinstance(data, dict):
        raise ValueError(f"the request is not a JSON object with the lists {', '.join(LISTS)}")
    for key, types in LISTS.items():
        if not isinstance(data.get(key), list):
            raise ValueError(f"the request has no list {key!r}; send the lists {', '.join(LISTS)}")
        if len(data[key]) > MAX_ITEMS:
            raise ValueError(f"the list {key!r} of the request has more than {MAX_ITEMS} items; send fewer at a time")
        if bad := [item for item in data[key] if not isinstance(item, types)]:
            raise ValueError(f"the list {key!r} of the request holds {reprlib.repr(bad[0])}, which is no text")
    return data["query"], data["prompts"], data["labels"]


def make_app(guard: GraderGuard, workers: int, token: str = "") -> FastAPI:
    """The server; gradings wait in threads of their own, so it goes on answering."""
    app = FastAPI(dependencies=[Depends(door(token))], docs_url=None, redoc_url=None, openapi_url=None)
    app.add_exception_handler(Refused, lambda _, error: refusal(error.status, error))
    threads, bodies = ThreadPoolExecutor(workers, thread_name_prefix="grader"), Bodies()

    @app.post("/get_reward")
    async def get_reward(request: Request) -> JSONResponse:
        """One reward per query, and 0.0 or 1.0 per query under each name of ``extra_logs``."""
        body = await bodies.read(request)
        try:
            batch = (*read_request(body), guard)
            rewards, logs = await asyncio.get_running_loop().run_in_executor(threads, grade_batch, *batch)
        except ValueError as e:
            return refusal(400, e)
        except RuntimeError as e:
            return refusal(500, e)
        finally:
            bodies.release(body)
        return JSONResponse({"rewards": rewards, "scores": rewards, "extra_logs": logs})

    @app.get("/health")
    async def health() -> dict:
        """The verdicts since the start by reason, and the share of failures among the last ones."""
        return {"counts": guard.counts, "failure_share": guard.failure_share}

    return app


def door(token: str) -> Callable[[Request], None]:
    """Lets through requests with the token, or all where there is none; ``Refused`` for others, their body unread."""

    async def check(request: Request) -> None:
        if token and not has_token(request.headers.get("authorization", ""), token):
            raise Refused(401, "the request has no or another token; send the one that serve_grader was started with")

    return check


def refusal(status: int, error: Exception) -> JSONResponse:
    """The begin of the sentence as the answer and in this log: OpenRLHF's client shows the status only."""
    sentence = one_line(error)
    logger.error("%d: %s", status, sentence)
    return JSONResponse({"detail": sentence}, status_code=status)


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    try:
        token, guard = read_token(args.token_file), process_guard()
        start_pool(args.workers)
        check_address(args.host, args.port)
    except ValueError as e:
        print(f"serve_grader: error: {e}", file=sys.stderr)
        sys.exit(2)
    if not token and args.host not in LOOPBACK:
        print(f"serve_grader: all that reach {args.host} may use it; give --token_file", file=sys.stderr, flush=True)
    app = make_app(guard, args.workers, token)
    uvicorn.run(app, host=args.host, port=args.port, access_log=False, server_header=False, http=TimedProtocol)


if __name__ == "__main__":
    main()
