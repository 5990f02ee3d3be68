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


@given(st.lists(st.sampled_from([4, 8]), max_size=40))
def test_with_groups_of_two_sizes_at_most_one_batch_less_is_filled(sizes):
    queue = queue_of(sizes, batch=16)
    queue.take()
    assert len(queue) < 16 or (sum(sizes) - len(queue)) // 16 == sum(sizes) // 16 - 1
