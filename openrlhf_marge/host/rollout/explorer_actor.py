"""A process that explores a part of each rollout's problems on a part of the engines (``--marge.explorers``)."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import ray

from openrlhf_marge.grading.shared import workers_for
from openrlhf_marge.host.rollout import tokens
from openrlhf_marge.host.rollout.explorations import Workplace, explore_problems
from openrlhf_marge.host.rollout.reward_client import RewardClient
from openrlhf_marge.host.rollout.shares import Explored, known_of
from openrlhf_marge.host.rollout.weight_version import WeightVersion
from openrlhf_marge.method.groups import Exploration
from openrlhf_marge.method.guidance import GuidancePool, PoolState
from openrlhf_marge.types import Problem

PIECE_SECONDS = 1.0  # of work, whose results are one piece


class ExplorerActor:
    """A Ray actor on a CPU.

    Between rollouts it keeps nothing of the problems: what the pool knows of them comes with them and goes back, so
    its memory is that of one rollout's part, and a checkpoint needs nothing from it. No method is a coroutine, which
    would have Ray run all of them in one event loop; a rollout runs a loop of its own.
    """

    def __init__(self, args: Any, engines: Sequence[Any], first_engine: int, number: int) -> None:
        self._args, self._engines, self._first_engine, self._number = args, engines, first_engine, number

    def node(self) -> str:
        """The machine that it runs on."""
        return ray.get_runtime_context().get_node_id()

    def start(self, on_node: int) -> None:
        """Load tokenizer and grader; ValueError where one does not load.

        So many explorers run on this machine: together they start as many grader processes as one alone would.
        """
        os.environ["MARGE_GRADER_WORKERS"] = str(workers_for(on_node))
        args = self._args
        self._place = Workplace(
            args=args,
            tokenizer=tokens.load_tokenizer(args),
            engines=self._engines,
            rewards=RewardClient(args.reward.remote_url, clients=args.marge.explorers),
            first_engine=self._first_engine,
            title=f"Explore problems, explorer {self._number}",
        )

    def explore(
        self, problems: Sequence[Problem], known: PoolState, weight_version: WeightVersion,
        generate_kwargs: dict[str, Any],
    ) -> Iterator[Explored]:  # fmt: skip
        """Its part of a rollout; ``known`` is what the pool knows of these problems."""
        return explore_share(self._place, problems, known, weight_version, generate_kwargs)


def explore_share(
    place: Workplace, problems: Sequence[Problem], known: PoolState, weight_version: WeightVersion,
    generate_kwargs: dict[str, Any],
) -> Iterator[Explored]:  # fmt: skip
    """A part of a rollout, with a pool of its own, in pieces: the receiver unpacks them while engines compute."""
    pool = GuidancePool()
    pool.update(known)
    ended: list[tuple[int, Exploration]] = []

    def piece(counts: dict[str, float]) -> Explored:
        places, explorations = [place for place, _ in ended], [exploration for _, exploration in ended]
        ended.clear()
        return Explored(
            places=places,
            explorations=explorations,
            pool=known_of(pool, [problems[place].id for place in places]),
            counts=counts,
        )

    with event_loop() as loop:
        work = loop.create_task(
            explore_problems(
                place, problems, pool, weight_version, generate_kwargs, lambda *found: ended.append(found)
            )
        )
        while not work.done():
            loop.run_until_complete(asyncio.wait([work], timeout=PIECE_SECONDS))
            if ended and not work.done():
                yield piece({})
        _, counts = work.result()
        yield piece(counts)


@contextmanager
def event_loop() -> Iterator[asyncio.AbstractEventLoop]:
    """As ``asyncio.run`` has one, to be run in parts; asyncio.Runner, which does that, is not in Python 3.10."""

    async def end_tasks() -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    loop = asyncio.new_event_loop()
    try:
        yield loop
    finally:
        loop.run_until_complete(end_tasks())
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()
