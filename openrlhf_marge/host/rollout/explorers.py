"""Spreads a rollout over processes, for one thread cannot serve more than some dozen engines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import ray
from ray.exceptions import RayActorError, RayTaskError

from openrlhf_marge.host.rollout.explorations import no_garbage_searches
from openrlhf_marge.host.rollout.explorer_actor import ExplorerActor
from openrlhf_marge.host.rollout.shares import Explored, divide, engine_shares, known_of, merge
from openrlhf_marge.host.rollout.weight_version import WeightVersion
from openrlhf_marge.method.groups import Exploration
from openrlhf_marge.method.guidance import GuidancePool
from openrlhf_marge.types import Problem


class Explorers:
    """``--marge.explorers`` actors, each with engines and problems of its own, for the whole run.

    Problems meet in the pool and in the queue alone, which stay with the caller. An explorer gets what the pool knows
    of its problems and gives it back. Seeds depend on run, problem, visit and prefix, so explorations, dump and
    guidance are the same for any number of explorers wherever the engines' answers depend on their seeds alone.
    """

    def __init__(self, args: Any, engines: Sequence[Any]) -> None:
        self._shares = engine_shares(len(engines), args.marge.explorers)
        self._actors = self._made(args, engines)
        self._started = False

    def _made(self, args: Any, engines: Sequence[Any]) -> list[Any]:
        """They begin to load at once. With no CPU reserved, they never wait for one that the trainer has taken."""
        actor = ray.remote(ExplorerActor).options(num_cpus=0, scheduling_strategy="SPREAD")
        return [
            actor.remote(args, [engines[engine] for engine in share], share.start, number)
            for number, share in enumerate(self._shares)
        ]

    def explore(
        self, problems: Sequence[Problem], pool: GuidancePool, weight_version: WeightVersion,
        generate_kwargs: dict[str, Any],
    ) -> tuple[list[Exploration], dict[str, float]]:  # fmt: skip
        """The explorations in the order of the problems, and counts; the pool learns what they found.

        Where one explorer fails, all end, and its error is raised as it would be without explorers; the pool stays as
        it was. RuntimeError naming an explorer that died.
        """
        divided = enumerate(divide([p.id for p in problems], self._shares))
        places = {explorer: of_one for explorer, of_one in divided if of_one}
        with no_garbage_searches():
            asked = {}
            for explorer, of_one in places.items():
                share = [problems[place] for place in of_one]
                asked[explorer] = share, known_of(pool, [p.id for p in share]), weight_version, generate_kwargs
            answers = self._answers(asked)
            return merge(list(places.values()), [answers[explorer] for explorer in places], pool)

    def _answers(self, asked: Mapping[int, tuple[Any, ...]]) -> dict[int, list[Explored]]:
        """By the number of the explorer: the pieces of its answer to its arguments, each unpacked as it comes."""
        try:
            self._start()
            pieces: dict[int, list[Explored]] = {explorer: [] for explorer in asked}
            streams: dict[Any, int] = {
                self._actors[explorer].explore.options(num_returns="streaming").remote(*given): explorer
                for explorer, given in asked.items()
            }
            waiting: list[Any] = list(streams)
            while waiting:
                stream: Any
                (stream,), waiting = ray.wait(waiting, num_returns=1)
                if (ref := next(stream, None)) is not None:
                    pieces[streams[stream]].append(_value(ref, streams[stream]))
                    waiting.append(stream)
            return pieces
        except BaseException:
            for actor in self._actors:
                ray.kill(actor)
            raise

    def _start(self) -> None:
        """Before the first rollout."""
        if self._started:
            return
        nodes = self._awaited({actor.node.remote(): number for number, actor in enumerate(self._actors)})
        on_node = [list(nodes.values()).count(nodes[number]) for number in range(len(self._actors))]
        starts = zip(self._actors, on_node, strict=True)
        self._awaited({actor.start.remote(n): number for number, (actor, n) in enumerate(starts)})
        self._started = True

    def _awaited(self, refs: Mapping[Any, int]) -> dict[int, Any]:
        """Values by explorer; those that come first are taken first, so that an error waits for nobody."""
        values, waiting = {}, list(refs)
        while waiting:
            (done,), waiting = ray.wait(waiting, num_returns=1)
            values[refs[done]] = _value(done, refs[done])
        return values


def _value(ref: Any, explorer: int) -> Any:
    try:
        return ray.get(ref)
    except RayTaskError as e:
        raise (e.cause if isinstance(e.cause, Exception) else e) from e
    except RayActorError as e:
        raise RuntimeError(
            f"explorer {explorer} of --marge.explorers died: {e}; resume the run with --ckpt.load_enable"
        ) from e
