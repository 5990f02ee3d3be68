"""``--marge.explorers``: whatever their number, a rollout finds the same."""

import asyncio
import pickle
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openrlhf_marge import MargeConfig
from openrlhf_marge.grading.shared import workers_for
from openrlhf_marge.host.rollout.shares import Explored, divide, engine_shares, known_of, merge
from openrlhf_marge.method.explorer import Explorer
from openrlhf_marge.method.guidance import GuidancePool

from factories import EOS, completion, explorer, problem

NAMES = st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=12)


def test_engines_are_shared_out_as_neighbours():
    assert engine_shares(5, 2) == [range(0, 2), range(2, 5)]
    assert engine_shares(4, 4) == [range(0, 1), range(1, 2), range(2, 3), range(3, 4)]
    assert engine_shares(7, 1) == [range(0, 7)]


def test_problems_go_by_engines_and_a_problem_that_comes_again_goes_where_it_was():
    engines = engine_shares(5, 2)
    assert divide([*"abcdefghij"], engines) == [[0, 1, 2, 3], [4, 5, 6, 7, 8, 9]]
    assert divide([*"abcab"], engine_shares(2, 2)) == [[0, 1, 2, 3, 4], []]
    assert divide([*"abca"], engine_shares(2, 2)) == [[0, 1, 3], [2]]
    assert divide(["a"], engine_shares(3, 3)) == [[0], [], []]


@given(names=NAMES, n_engines=st.integers(1, 9), data=st.data())
def test_every_problem_goes_to_one_explorer_and_different_ones_in_proportion(names, n_engines, data):
    engines = engine_shares(n_engines, data.draw(st.integers(1, n_engines)))
    assert [*range(n_engines)] == [engine for share in engines for engine in share]
    assert max(map(len, engines)) - min(map(len, engines)) <= 1
    places = divide(names, engines)
    assert sorted(place for share in places for place in share) == [*range(len(names))]
    assert all(share == sorted(share) for share in places)
    for name in names:
        assert sum(name in {names[place] for place in share} for share in places) == 1
    different = divide([str(n) for n in range(len(names))], engines)
    for share, of_one in zip(engines, different, strict=True):
        assert abs(len(of_one) - len(names) * len(share) / n_engines) < 1


class Drawn:
    """Completions that depend on their seed alone; answers come in any order."""

    def __init__(self, order: random.Random) -> None:
        self._order = order

    async def complete(self, asked, prefix_ids, n, seed):
        for _ in range(self._order.randrange(4)):
            await asyncio.sleep(0)
        rng = random.Random(seed)
        return [
            completion(float(rng.random() < 0.5), (*(rng.randrange(10, 20) for _ in range(rng.randint(4, 9))), EOS))
            for _ in range(n)
        ]


CONFIGS = (
    {},
    dict(guidance_source="fresh", state_budget="adaptive"),
    dict(explore="frontier", guidance_source="fresh"),
)


async def explored(chain: Explorer, names):
    return await asyncio.gather(*(chain.explore(problem(name)) for name in names))


@settings(max_examples=30)
@given(
    rollouts=st.lists(NAMES, min_size=1, max_size=3), n=st.integers(2, 5), config=st.sampled_from(CONFIGS),
    order=st.integers(0, 99),
)  # fmt: skip
def test_any_number_of_explorers_finds_what_one_finds(rollouts, n, config, order):
    one, many = GuidancePool(), GuidancePool()
    engines = engine_shares(5, n)
    for names in rollouts:
        sampler = Drawn(random.Random(order))
        alone = asyncio.run(explored(explorer(sampler, pool=one, **config), names))
        places = [share for share in divide(names, engines) if share]
        answers = []
        for share in places:
            of_share, pool = [names[place] for place in share], GuidancePool()
            pool.update(pickle.loads(pickle.dumps(known_of(many, of_share))))
            found = asyncio.run(explored(explorer(sampler, pool=pool, **config), of_share))
            cut = random.Random(order).randrange(len(share) + 1)
            sent = [
                Explored(
                    places=part, explorations=[found[i] for i in part], counts={"problems": float(len(part))},
                    pool=known_of(pool, [of_share[i] for i in part]),
                )
                for part in (range(cut, len(share)), range(cut))
            ]  # fmt: skip
            answers.append(pickle.loads(pickle.dumps(sent)))
        together, counts = merge(places, answers, many)
        assert together == alone and counts == {"problems": float(len(names))}
        assert many.state_dict() == one.state_dict()


@pytest.mark.parametrize(("cores", "together", "each"), [(200, 1, 16), (200, 10, 16), (12, 5, 2), (2, 3, 1)])
def test_explorers_on_a_machine_share_its_cores_for_graders(monkeypatch, cores, together, each):
    monkeypatch.delenv("MARGE_GRADER_WORKERS", raising=False)
    monkeypatch.setattr("openrlhf_marge.grading.shared.usable_cores", lambda: cores)
    assert workers_for(together) == each


@pytest.mark.parametrize(("said", "together", "each"), [("32", 1, 32), ("32", 3, 10), ("2", 4, 1)])
def test_explorers_on_a_machine_share_the_graders_that_are_asked_for(monkeypatch, said, together, each):
    monkeypatch.setenv("MARGE_GRADER_WORKERS", said)
    assert workers_for(together) == each


def test_fewer_explorers_than_one_are_refused():
    with pytest.raises(ValueError, match=r"--marge\.explorers is 0; it must be at least 1"):
        MargeConfig(explorers=0)
    assert MargeConfig(explorers=1).explorers == MargeConfig().explorers
