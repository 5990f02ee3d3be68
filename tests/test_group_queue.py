import itertools

from hypothesis import given
from hypothesis import strategies as st

from openrlhf_marge.method.group_queue import GroupQueue

from factories import group


def queue_of(sizes, batch):
    queue = GroupQueue(batch)
    queue.extend(group(i, rewards=(0.0,) * size) for i, size in enumerate(sizes))
    return queue


def test_whole_groups_fill_whole_batches_and_the_rest_waits():
    queue = queue_of([2] * 7, batch=4)
    assert [g.id for g in queue.take()] == [0, 1, 2, 3, 4, 5]
    assert len(queue) == 2
    queue.extend([group(7, rewards=(0.0, 0.0))])
    assert [g.id for g in queue.take()] == [6, 7]


def test_groups_of_uneven_size_stay_whole_and_one_that_does_not_fit_comes_first_next_time():
    queue = queue_of([3, 2, 1, 4], batch=4)
    assert [g.id for g in queue.take()] == [0, 2, 3]  # 3 + 1 + 4; no two batches contain the group of 2
    queue.extend([group(9, rewards=(0.0, 0.0))])
    assert [g.id for g in queue.take()] == [1, 9]


def test_a_long_queue_is_filled_to_the_end():
    queue = queue_of([8] * 5000 + [4, 12, 8, 20] * 500, batch=1024)
    assert sum(len(g.completions) for g in queue.take()) == 62000 // 1024 * 1024


def test_too_few_completions_give_nothing():
    assert queue_of([2], batch=4).take() == []


@given(st.lists(st.integers(1, 4), max_size=20), st.integers(1, 8))
def test_nothing_is_lost_or_doubled_and_what_waits_keeps_its_order(sizes, batch):
    queue = queue_of(sizes, batch)
    taken = queue.take()
    assert sum(len(g.completions) for g in taken) % batch == 0
    waiting = [g.id for g in queue.groups]
    assert waiting == sorted(waiting)
    assert sorted([g.id for g in taken] + waiting) == list(range(len(sizes)))
    assert len(queue) == sum(sizes) - sum(len(g.completions) for g in taken)


def subsets(sizes, batch):
    """Places of all the ways to fill whole batches."""
    ways = itertools.chain.from_iterable(itertools.combinations(range(len(sizes)), k) for k in range(len(sizes) + 1))
    return [way for way in ways if sum(sizes[i] for i in way) % batch == 0]


@given(st.lists(st.integers(1, 12), max_size=10), st.integers(1, 16))
def test_the_most_that_any_choice_can_fill_is_taken_and_of_these_the_oldest(sizes, batch):
    def merit(way):
        return sum(sizes[i] for i in way), [i in way for i in range(len(sizes))]

    best = max(subsets(sizes, batch), key=merit)
    assert [g.id for g in queue_of(sizes, batch).take()] == list(best)


@given(st.integers(0, 12), st.integers(20, 60))
def test_a_small_group_anywhere_among_large_ones_starves_nobody(place, n):
    sizes = [8] * n
    sizes.insert(place, 4)
    queue = queue_of(sizes, batch=64)
    assert len(queue.take()) == n // 8 * 8
    assert len(queue) == 4 + n % 8 * 8


def test_a_small_group_at_the_front_waits_for_its_like():
    queue = queue_of([4] + [8] * 79, batch=64)
    assert sum(len(g.completions) for g in queue.take()) == 576
    queue.extend([group(100, rewards=(0.0,) * 4)])
    assert [g.id for g in queue.take()] == [0, *range(73, 80), 100]
