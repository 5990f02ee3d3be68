from hypothesis import given
from hypothesis import strategies as st

from openrlhf_marge.group_queue import GroupQueue

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


def test_groups_of_uneven_size_stay_whole():
    queue = queue_of([3, 1, 2, 2, 3], batch=4)
    assert [g.id for g in queue.take()] == [0, 1, 2, 3]
    assert len(queue) == 3


def test_too_few_completions_give_nothing():
    assert queue_of([2], batch=4).take() == []


@given(st.lists(st.integers(1, 4), max_size=20), st.integers(1, 8))
def test_nothing_is_lost_doubled_or_reordered(sizes, batch):
    queue = queue_of(sizes, batch)
    taken = queue.take()
    assert sum(len(g.completions) for g in taken) % batch == 0
    assert [g.id for g in taken] == list(range(len(taken)))
    assert len(queue) == sum(sizes) - sum(len(g.completions) for g in taken)
