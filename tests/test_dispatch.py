"""Which engine a request gets: no engine has room while another one's requests wait, and problems stay at theirs."""

import asyncio
from collections import defaultdict

from hypothesis import given
from hypothesis import strategies as st

from openrlhf_marge.host.rollout import dispatch
from openrlhf_marge.host.rollout.dispatch import Dispatcher


async def turns() -> None:
    for _ in range(5):  # of the event loop: whoever can go on has done so
        await asyncio.sleep(0)


class Requests:
    """Those that were begun, their engines, and a way to end each."""

    def __init__(self, n_engines: int) -> None:
        self.dispatcher, self.engine, self.ends = Dispatcher(n_engines), {}, {}
        self.tasks: list[asyncio.Task] = []

    def begin(self, name: str, problem: str, n: int) -> None:
        self.ends[name] = asyncio.Event()

        async def request() -> None:
            async with self.dispatcher.engine(problem, n) as engine:
                self.engine[name] = engine
                await self.ends[name].wait()

        self.tasks.append(asyncio.ensure_future(request()))

    async def end(self, name: str) -> None:
        self.ends[name].set()
        await turns()


def engines_of(room: int, n_engines: int, script) -> dict[str, int]:
    """The engine of each request; of ``script`` "p1:3" begins a request for 3 of problem p, "-p1" ends it."""

    async def run() -> dict[str, int]:
        requests = Requests(n_engines)
        for item in script.split():
            if item.startswith("-"):
                await requests.end(item[1:])
            else:
                name, n = item.split(":")
                requests.begin(name, name[0], int(n))
                await turns()
        return requests.engine

    before, dispatch.COMPLETIONS_PER_ENGINE = dispatch.COMPLETIONS_PER_ENGINE, room
    try:
        return asyncio.run(run())
    finally:
        dispatch.COMPLETIONS_PER_ENGINE = before


def test_a_new_problem_goes_to_the_engine_that_was_asked_for_least_and_its_states_stay_there():
    assert engines_of(9, 3, "p1:3 q1:1 r1:2 q2:2 p2:1 s1:1") == {"p1": 0, "q1": 1, "r1": 2, "q2": 1, "p2": 0, "s1": 2}


def test_a_problem_moves_only_when_its_engine_is_full_and_another_is_not():
    assert engines_of(4, 2, "p1:4 q1:1 p2:1 -p1 p3:1") == {"p1": 0, "q1": 1, "p2": 1, "p3": 1}
    assert engines_of(4, 2, "p1:3 q1:1 p2:1 p3:1") == {"p1": 0, "q1": 1, "p2": 0, "p3": 1}


def test_what_waits_is_served_new_problems_first_then_the_engines_own():
    begun = "p1:2 q1:2 p2:2 q2:2 r1:2 r2:2"  # two engines with room for one request each
    assert engines_of(2, 2, begun) == {"p1": 0, "q1": 1}
    assert engines_of(2, 2, f"{begun} -p1") == {"p1": 0, "q1": 1, "r1": 0}
    assert engines_of(2, 2, f"{begun} -p1 -r1") == {"p1": 0, "q1": 1, "r1": 0, "r2": 0}
    ends = f"{begun} -p1 -r1 -q1 -r2"
    assert engines_of(2, 2, ends) == {"p1": 0, "q1": 1, "r1": 0, "r2": 0, "q2": 1, "p2": 0}


def test_an_engine_without_work_takes_over_a_whole_problem_that_waits_at_another():
    begun = "p1:2 q1:2 p2:2 p3:2 p4:2"
    assert engines_of(2, 2, f"{begun} -q1") == {"p1": 0, "q1": 1, "p2": 1}
    assert engines_of(2, 2, f"{begun} -q1 -p2") == {"p1": 0, "q1": 1, "p2": 1, "p3": 1}
    assert engines_of(2, 2, f"{begun} -q1 -p1") == {"p1": 0, "q1": 1, "p2": 1, "p3": 0}


def test_requests_larger_than_the_room_are_served_alone():
    assert engines_of(4, 1, "p1:32 q1:32 -p1") == {"p1": 0, "q1": 0}


REQUESTS = st.lists(st.tuples(st.integers(0, 5), st.integers(1, 6)), min_size=1, max_size=25)


@given(REQUESTS, st.integers(1, 4), st.integers(1, 12), st.randoms(use_true_random=False))
def test_all_are_served_once_and_no_engine_has_room_while_one_waits(asked, n_engines, room, random):
    async def run() -> None:
        requests, open_ = Requests(n_engines), {}
        for number, (problem, n) in enumerate(asked):
            requests.begin(str(number), str(problem), n)
            open_[str(number)] = n
            await turns()
            check(requests, open_)
            if random.random() < 0.4:
                await end_one(requests, open_)
        while open_:
            await end_one(requests, open_)
        assert set(requests.engine) == set(map(str, range(len(asked))))
        await asyncio.gather(*requests.tasks)

    async def end_one(requests, open_) -> None:
        name = random.choice([name for name in open_ if name in requests.engine])
        del open_[name]
        await requests.end(name)
        check(requests, open_)

    def check(requests, open_) -> None:
        given_to = defaultdict(list)
        for name, n in open_.items():
            given_to[requests.engine.get(name)].append(n)
        loads = [sum(given_to[engine]) for engine in range(n_engines)]
        assert all(load - max(given_to[e]) < room for e, load in enumerate(loads) if load)
        assert not given_to[None] or min(loads) >= room

    before, dispatch.COMPLETIONS_PER_ENGINE = dispatch.COMPLETIONS_PER_ENGINE, room
    try:
        asyncio.run(run())
    finally:
        dispatch.COMPLETIONS_PER_ENGINE = before
