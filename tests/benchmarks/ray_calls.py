"""What Ray costs the process that samples: CPU for each call of an engine, and for an explorer's answer.

    python tests/benchmarks/ray_calls.py --calls 2000

An actor answers at once with vLLM's own output of a state: 8 completions and their log-probs, as dicts of objects (as
vLLM gives them unless told otherwise) or flat. Compared is a call that answers with None. Each state takes one call of
an engine and, with partial rollouts, two of the run's clock. CPU seconds are those of all threads of this process, of
which Ray has some of its own, and of the one thread that Python runs in.
"""

from __future__ import annotations

import argparse
import asyncio
import pickle
import random
import time
from collections.abc import Awaitable, Callable
from typing import Any

import ray
from vllm import SamplingParams
from vllm.logprobs import FlatLogprobs, Logprob
from vllm.outputs import CompletionOutput, RequestOutput

from openrlhf_marge.host.rollout.engine_outputs import sampled_log_probs
from openrlhf_marge.host.rollout.explorations import few_garbage_searches
from openrlhf_marge.host.standalone.local_ray import local_ray

AT_ONCE = 64  # requests that an engine has


def answer_of(tokens: int, flat: bool | None) -> RequestOutput:
    """8 completions; ``flat`` as the package asks for it, False as the host does, None without log-probs."""
    rng = random.Random(0)
    outputs = []
    for index in range(8):
        ids = [rng.randrange(300, 150_000) for _ in range(tokens)]
        log_probs: Any = FlatLogprobs() if flat else []
        for token in ids:
            position = {token: Logprob(-rng.random(), 2, None)}
            if not flat:  # with ``logprobs=1`` the most probable token, too: another one in half of the places
                position |= {token + rng.randrange(2): Logprob(-0.1, 1, None)}
            log_probs.append(position)
        outputs.append(
            CompletionOutput(
                index=index,
                text="",
                token_ids=ids,
                cumulative_logprob=-1.0,
                finish_reason="stop",
                logprobs=None if flat is None else log_probs,
            )
        )
    return RequestOutput(
        request_id="0", prompt=None, prompt_token_ids=list(range(1000, 1090)), prompt_logprobs=None, outputs=outputs,
        finished=True,
    )  # fmt: skip


class Engine:
    """Packs each answer anew, as an engine does."""

    def __init__(self, answers: list[bytes]) -> None:
        self._answers = [pickle.loads(answer) for answer in answers]

    async def generate(self, ids: list[int], params: Any, kind: int) -> Any:
        return self._answers[kind]

    async def version(self) -> int:
        return 0


async def in_turn(call: Callable[[], Awaitable[Any]], n: int) -> None:
    """n calls, so many at once as an engine has."""
    room = asyncio.Semaphore(AT_ONCE)

    async def one() -> None:
        async with room:
            await call()

    await asyncio.gather(*(one() for _ in range(n)))


def measured(call: Callable[[], Awaitable[Any]], n: int) -> str:
    with few_garbage_searches():
        asyncio.run(in_turn(call, n // 10))
        process, thread, start = time.process_time(), time.thread_time(), time.monotonic()
        asyncio.run(in_turn(call, n))
    of_all = time.process_time() - process, time.thread_time() - thread, time.monotonic() - start
    all_threads, python, wall = (1000 * seconds / n for seconds in of_all)
    return f"{python:.3f} ms of Python's thread, {all_threads:.3f} of all threads, {wall:.3f} on the clock"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=2000, help="of each kind [2000]")
    parser.add_argument("--tokens", type=int, default=104, help="of a completion, of which a state has 8 [104]")
    args = parser.parse_args()
    kinds = {"as dicts": False, "flat": True, "without log-probs": None}
    answers = [pickle.dumps(answer_of(args.tokens, flat)) for flat in kinds.values()] + [pickle.dumps(None)]
    ids = [random.Random(1).randrange(300, 150_000) for _ in range(150)]
    params = SamplingParams(n=8, max_tokens=512, logprobs=0)
    with local_ray(1):
        engine = ray.remote(Engine).options(num_cpus=0).remote(answers)
        ray.get(engine.version.remote())

        async def read(kind: int) -> None:
            output = await engine.generate.remote(ids, params, kind)
            for completion in output.outputs:
                sampled_log_probs(completion, args.tokens)

        for kind, name in enumerate(kinds):
            print(f"an answer with log-probs {name}: {measured(lambda k=kind: read(k), args.calls)}", flush=True)

        async def nothing() -> None:
            await engine.generate.remote(ids, params, len(kinds))

        async def version() -> None:
            await engine.version.remote()

        print(f"a call answered with None: {measured(nothing, args.calls)}", flush=True)
        print(f"the clock: {measured(version, args.calls)}", flush=True)


if __name__ == "__main__":
    main()
