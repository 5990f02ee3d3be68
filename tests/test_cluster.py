"""A small share of the simulated cluster (tests/benchmarks/cluster.py): nothing is lost, whatever fails."""

import asyncio
import gc
import sys
from pathlib import Path

import pytest

pytest.importorskip("openrlhf", reason="the host is not installed")

from openrlhf_marge.host.rollout.explorations import ALLOCATIONS, few_garbage_searches

sys.path.append(str(Path(__file__).parent / "benchmarks"))

from cluster import simulated
from prefix_blocks import PrefixBlocks
from simulated_cluster import Shape
from simulated_faults import FAULTS, run_with_faults, told

from virtual_time import NothingLeft, virtual_time


def test_a_day_takes_no_time_and_a_hang_is_an_error():
    async def wait() -> float:
        before = asyncio.get_running_loop().time()
        await asyncio.gather(asyncio.sleep(86_400), asyncio.sleep(10))
        return asyncio.get_running_loop().time() - before

    async def hang() -> None:
        await asyncio.get_running_loop().create_future()

    with virtual_time() as clock:
        assert asyncio.run(wait()) == clock.now == 86_400
        with pytest.raises(NothingLeft, match=r"nothing can happen any more after 86400\.0 virtual"):
            asyncio.run(hang())


def test_whole_blocks_of_a_prefix_are_cached_and_the_last_token_is_not():
    blocks = PrefixBlocks(most_tokens=48)
    assert [blocks.add(range(n)) for n in (40, 40, 32, 50)] == [0, 32, 31, 32]
    assert blocks.add([*range(16), *[7] * 20]) == 16
    assert blocks.add(range(50)) == 16  # the second of its blocks was forgotten


def test_every_fault_once_and_what_is_trained_on_is_as_without_any():
    assert f"{len(FAULTS)} faults (" in run_with_faults(len(FAULTS), seed=1)


def test_only_a_lost_or_wrong_answer_ends_a_process():
    story = told(["late", "stalls", "hangs", "twice"], seed=0, rollouts=4)
    assert story.injected.total() == 4 and story.crashes == {"hangs": 1, "twice": 1}


def test_garbage_is_searched_for_as_before_after_a_rollout():
    before = gc.get_threshold(), gc.get_freeze_count()
    with pytest.raises(KeyError), few_garbage_searches():
        assert gc.get_threshold()[0] == ALLOCATIONS and gc.get_freeze_count() > before[1]
        raise KeyError
    assert (gc.get_threshold(), gc.get_freeze_count()) == before


def test_all_states_are_sampled_and_the_engines_share_the_work():
    shape = Shape(
        engines=8, problems=200, rollouts=2, completions=4, batch=64, max_response=64, responses=dict(median=20)
    )
    first, second = simulated(shape)
    assert first.states > 600 and second.states > 600
    assert sum(first.made) == first.tokens and sum(first.busy) <= 8 * first.virtual
    assert max(first.busy) < 1.15 * sum(first.busy) / 8
