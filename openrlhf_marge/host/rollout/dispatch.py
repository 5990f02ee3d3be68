"""Which engine gets which request, and when: none idles while another has a queue."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from heapq import heappop, heappush

# Completions that an engine is given at once. vLLM computes 128 of them (its max_num_seqs where OpenRLHF gives none),
# and a request counts until the longest of its completions ends, when most of the others have long ended. Fewer leave
# an engine without work; more wait in one engine while another has none. It is also below the 1,000 calls that a Ray
# actor takes at a time: were all of them requests that a pause of the engine holds back, its resume would wait behind
# them for ever.
COMPLETIONS_PER_ENGINE = 512


@dataclass(frozen=True, slots=True)
class _Waiting:
    n: int  # completions
    engine: asyncio.Future[int]


_Queue = OrderedDict[str, deque[_Waiting]]  # what waits, by problem


class Dispatcher:
    """Lends engines to requests; those for which no engine has room wait here.

    A problem belongs to an engine, in whose prefix cache its states find each other. It moves, with all of it that
    waits, only where its engine has no room and another one has: to compute its prompt again is cheap beside an engine
    that idles.
    """

    def __init__(self, n_engines: int) -> None:
        self._asked = [0] * n_engines  # completions that each has now
        self._least = [(0, engine) for engine in range(n_engines)]  # a heap of these; some entries are out of date
        self._home: dict[str, int] = {}
        self._homeless: _Queue = OrderedDict()
        self._at_home: list[_Queue] = [OrderedDict() for _ in range(n_engines)]
        self._all_at_home: OrderedDict[str, None] = OrderedDict()

    @asynccontextmanager
    async def engine(self, problem_id: str, n: int) -> AsyncIterator[int]:
        """The number of the engine to ask for n completions of the problem, as soon as one has room."""
        engine = self._with_room(problem_id)
        if engine is None:
            engine = await self._in_turn(problem_id, n)
        else:
            self._home[problem_id] = engine
            self._add(engine, n)
        try:
            yield engine
        finally:
            self._add(engine, -n)
            self._serve(engine)

    def _add(self, engine: int, n: int) -> None:
        self._asked[engine] += n
        heappush(self._least, (self._asked[engine], engine))

    def _has_room(self, engine: int) -> bool:
        return self._asked[engine] < COMPLETIONS_PER_ENGINE

    def _with_room(self, problem_id: str) -> int | None:
        """The problem's engine, or the one that was asked for least; None where there is no room."""
        home = self._home.get(problem_id)
        if home is not None and self._has_room(home):
            return home
        while self._least[0][0] != self._asked[self._least[0][1]]:
            heappop(self._least)
        engine = self._least[0][1]
        return engine if self._has_room(engine) else None

    async def _in_turn(self, problem_id: str, n: int) -> int:
        waiting = _Waiting(n, asyncio.get_running_loop().create_future())
        home = self._home.get(problem_id)
        if home is not None:
            self._all_at_home[problem_id] = None
        queue = self._homeless if home is None else self._at_home[home]
        queue.setdefault(problem_id, deque()).append(waiting)
        return await waiting.engine

    def _serve(self, engine: int) -> None:
        """Give the engine what waits, while it has room."""
        while self._has_room(engine) and (waiting := self._next(engine)) is not None:
            if not waiting.engine.done():  # cancelled
                self._add(engine, waiting.n)
                waiting.engine.set_result(engine)

    def _next(self, engine: int) -> _Waiting | None:
        """Of a new problem, as what is to be continued must be sampled first; else of its own ones, else of others."""
        own = self._at_home[engine]
        if problem_id := next(iter(self._homeless or own or self._all_at_home), None):
            queue = self._homeless or own or self._at_home[self._home[problem_id]]
            first, *others = queue.pop(problem_id)
            self._all_at_home.pop(problem_id, None)
            self._home[problem_id] = engine
            if others:
                self._all_at_home[problem_id] = None
                own[problem_id] = deque(others)
                own.move_to_end(problem_id, last=False)
            return first
        return None
