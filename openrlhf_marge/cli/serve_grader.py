"""The package's grader as a reward server for OpenRLHF, in place of its own openrlhf.cli.serve_rm.

    python -m openrlhf_marge.cli.serve_grader --host 127.0.0.1 --port 5000

Then --reward.remote_url http://HOST:5000/get_reward. GET /health tells the verdicts so far by reason.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
from concurrent.futures import ThreadPoolExecutor

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from openrlhf_marge.batch_grading import grade_batch
from openrlhf_marge.cli.workers import add_workers, check_workers, start_pool
from openrlhf_marge.grading_guard import GraderGuard, process_guard

logger = logging.getLogger("uvicorn.error")  # uvicorn's log on the terminal; its name does not mean errors only
TEXT, LABEL = (str,), (str, int, float)
LISTS = {"query": TEXT, "prompts": TEXT, "labels": LABEL}  # of a request: what their items may be


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on; 0.0.0.0: all [default 127.0.0.1]")
    parser.add_argument("--port", type=int, default=5000, help="port [default 5000]")
    add_workers(parser)
    args = parser.parse_args(argv)
    check_workers(parser, args.workers)
    if not 0 < args.port < 2**16:
        parser.error(f"--port {args.port} must lie between 1 and {2**16 - 1}")
    return args


def read_request(body: bytes) -> tuple[list[str], list[str], list]:
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
        if bad := [item for item in data[key] if not isinstance(item, types)]:
            raise ValueError(f"the list {key!r} of the request holds {bad[0]!r}, which is no text")
    return data["query"], data["prompts"], data["labels"]


def make_app(guard: GraderGuard, workers: int) -> FastAPI:
    """The server; gradings wait in threads of their own, so it goes on answering."""
    app = FastAPI(title="openrlhf_marge grader")
    threads = ThreadPoolExecutor(workers, thread_name_prefix="grader")

    @app.post("/get_reward")
    async def get_reward(request: Request) -> JSONResponse:
        """One reward per query, and 0.0 or 1.0 per query under each name of ``extra_logs``."""
        body = await request.body()
        try:
            batch = (*read_request(body), guard)
            rewards, logs = await asyncio.get_running_loop().run_in_executor(threads, grade_batch, *batch)
        except ValueError as e:
            return refusal(400, e)
        except RuntimeError as e:
            return refusal(500, e)
        return JSONResponse({"rewards": rewards, "scores": rewards, "extra_logs": logs})

    @app.get("/health")
    async def health() -> dict:
        """The verdicts since the start by reason, and the share of failures among the last ones."""
        return {"counts": guard.counts, "failure_share": guard.failure_share}

    return app


def refusal(status: int, error: Exception) -> JSONResponse:
    """The sentence as the answer and in this log: OpenRLHF's client shows the status only."""
    logger.error("%d: %s", status, error)
    return JSONResponse({"detail": str(error)}, status_code=status)


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    try:
        guard = process_guard()
        start_pool(args.workers)
    except ValueError as e:
        raise SystemExit(f"serve_grader: error: {e}") from None
    uvicorn.run(make_app(guard, args.workers), host=args.host, port=args.port, access_log=False)


if __name__ == "__main__":
    main()
