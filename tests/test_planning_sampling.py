"""Plans: what a rollout samples, its micro-batches and its seconds, against numbers computed by hand."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openrlhf_marge import MargeConfig
from openrlhf_marge.planning.batches import Rows
from openrlhf_marge.planning.devices import devices_of
from openrlhf_marge.planning.phases import Seconds
from openrlhf_marge.planning.sampling import Sampled, engine_steps, sampled_of
from openrlhf_marge.planning.seconds import Clock
from openrlhf_marge.planning.visits import SampledState, rows_of, stock_visit

from planned_launches import BARE, PASSES, N, launch, shape, state, visit


def test_tokens_of_a_visit():
    of_visit = visit(state(10, 2, [5, 6]), state(10, 8, [3, 4]), untrained=[state(10, 2, [7] * 3, trained=False)])
    s = sampled_of([of_visit, visit(untrained=[state(10, 2, [1], trained=False)])], None)
    assert (s.problems, s.without_guidance, s.states, s.completions, s.trained, s.untrained) == (2, 1, 2, 4, 4, 4)
    assert (s.untrained_tokens, s.completion_tokens, s.tokens) == (22, (11, 7), 40)
    assert s.prompt_tokens == 12 + 12 + 18 + 12
    assert (s.prefill_tokens, s.cached_tokens) == (2 * 12 + 2 * 18 + 3 * 12 + 12, 0)
    # every token looks at its context, at those before it and at itself
    assert s.looked_at == sum(c * n + n * (n + 1) / 2 for c, n in
                              [(12, 5), (12, 6), (18, 3), (18, 4), (12, 7), (12, 7), (12, 7), (12, 1)])  # fmt: skip
    twice = s + s
    assert twice == s.times(2) and twice.completion_tokens == (22, 14)


def test_the_cache_has_whole_blocks_and_never_all_of_a_context():
    two = visit(state(10, 0, [5, 5]), state(10, 8, [5, 5]))
    s = sampled_of([two], 4)
    # 10 of the first, then 2 (8 cached); of 18 tokens 10 are known, so 8 cached; then 16 of 18.
    assert (s.prefill_tokens, s.cached_tokens) == (10 + 2 + 10 + 2, 8 + 8 + 16)
    exact = sampled_of([visit(state(8, 0, [5, 5]))], 4)
    assert exact.prefill_tokens == 8 + 4  # the last block is computed again, for its last token


def test_a_guidance_that_was_just_sampled_is_in_the_cache():
    candidates = SampledState(
        context=np.arange(1, 9), prefix=0, completions=(np.arange(9, 30), np.arange(50, 60)), trained=()
    )
    later = SampledState(context=np.arange(1, 21), prefix=12, completions=(np.arange(70, 75),))
    s = sampled_of([visit(later, untrained=[candidates])], 4)
    assert s.prefill_tokens == 8 + 4 + 4


def test_engine_steps():
    one = visit(state(1, 0, [5, 3, 4]))
    assert engine_steps([one], 1, 3) == 5
    assert engine_steps([one], 1, 1) == 12
    assert engine_steps([one], 1, 2) == 7  # 5 beside 3, then 4 after the 3
    after = visit(state(1, 0, [5]), untrained=[state(1, 0, [2, 6], trained=False)])
    assert engine_steps([after], 1, 8) == 11  # completions wait for the last candidate
    assert engine_steps([after], 2, 8) == 11 and engine_steps([after], 2, 1) == 26


@given(st.lists(st.integers(1, 50), min_size=1, max_size=40), st.integers(1, 10))
def test_engine_steps_are_bounded_by_work_and_by_the_longest(lengths, sequences):
    steps = engine_steps([visit(state(1, 0, lengths))], 1, sequences)
    least = max(max(lengths), -(-sum(lengths) // sequences))
    assert least <= steps <= least + max(lengths)


def rows(args, *visits, problems=1) -> Rows:
    return Rows(*rows_of(visits, problems), args)


def test_padded_packed_and_shared_rows():
    two = visit(state(10, 0, [5, 1]), state(10, 4, [2, 6]))  # rows of 15, 11, 16 and 20 tokens
    padded = rows(launch(), two).log_probs()
    assert (padded.tokens, padded.computed, padded.logits) == (62, 2 * 15 + 2 * 20, 70)
    assert padded.distinct == (10 + 6) + (14 + 8)
    packed = rows(launch(ds__packing_samples=True), two).log_probs()
    assert (packed.computed, packed.pairs) == (62, sum(n * (n + 1) / 2 for n in (15, 11, 16, 20)))
    shared = launch(MargeConfig(share_prefix=True), train__dynamic_batch_enable=True)
    all_at_once = rows(shared, two).log_probs()
    # s_0's completions share 10 tokens with the guidance, whose 4 tokens both completions of s_1 have
    assert (all_at_once.computed, all_at_once.logits) == (10 + 6 + 4 + 8, 14)
    assert all_at_once.pairs == packed.pairs - sum(n * (n + 1) / 2 for n in (10, 10, 14))
    assert padded.per_rank == 2 / 8 and all_at_once.per_rank == 1 / 8


def test_rows_that_share_little_are_all_computed():
    little = visit(state(1, 0, [20, 20]))
    shared = launch(MargeConfig(share_prefix=True), train__dynamic_batch_enable=True)
    assert rows(shared, little).log_probs().computed == 42


def test_dynamic_micro_batches_hold_so_many_tokens():
    many = visit(state(10, 0, [40] * 8))  # 8 rows of 50
    args = launch(train__dynamic_batch_enable=True, ds__packing_samples=True, rollout__max_tokens_per_gpu=100)
    found = rows(args, many).log_probs()
    assert (found.per_rank, found.computed) == (4 / 8, 400)


def test_copies_of_a_pilot_share_nothing():
    one = visit(state(10, 0, [5, 5]))
    args = launch(MargeConfig(share_prefix=True), train__dynamic_batch_enable=True, actor__num_gpus_per_node=1)
    assert rows(args, one, problems=2).log_probs().computed == 2 * 20
    more = visit(state(10, 0, [5, 5]).with_completions(4))
    assert rows(args, more).log_probs().computed == 10 + 4 * 5


def test_stock_samples_whole_responses():
    stock = stock_visit(visit(state(10, 3, [5, 7]), state(10, 8, [1])), 4)
    (only,) = stock.states
    assert (len(only.context), only.lengths, len(only.trained)) == (10, [8, 10, 8, 10], 4)


def clock(machine=BARE, **changed) -> Clock:
    args = launch(MargeConfig(), **changed)
    return Clock(args=args, shape=shape(), machine=machine, devices=devices_of(args))


def test_seconds_of_passes():
    flops = shape().forward(10, 10, 55)
    assert clock().log_probs(PASSES, 4) == pytest.approx(flops / 8 / 0.5e12)
    one = dict(actor__num_gpus_per_node=1, train__max_epochs=2)
    adam = N * 28 / 1e12
    assert clock(**one).training(PASSES, 3) == pytest.approx(2 * 3 * flops / 0.25e12 + 3 * adam)
    checkpointed = clock(**one, actor__gradient_checkpointing_enable=True)
    assert checkpointed.training(PASSES, 0) == pytest.approx(2 * 4 * flops / 0.25e12)
    fixed = replace(BARE, fixed=replace(BARE.fixed, layer=0.5, row=0.25, log_probs=2))
    assert clock(fixed).log_probs(PASSES, 4) == pytest.approx(2 + 4 * 0.25 + 24 * 0.5, abs=0.01)
    # A reference on fewer GPUs of its own is waited for, on more it is not.
    for of_reference, seconds in ((4, 2 * flops / 8 / 0.5e12), (16, flops / 8 / 0.5e12)):
        apart = launch(ref__num_gpus_per_node=of_reference)
        waits = Clock(args=apart, shape=shape(), machine=BARE, devices=devices_of(apart))
        assert waits.log_probs(PASSES, 4) == pytest.approx(seconds)
    stock = launch(train__colocate_actor_ref=True)  # the reference after the policy
    twice = Clock(args=stock, shape=shape(), machine=BARE, devices=devices_of(stock))
    assert twice.log_probs(PASSES, 4) == pytest.approx(2 * clock().log_probs(PASSES, 4))


def test_zero_3_waits_for_weights_where_there_is_little_to_compute():
    fast = replace(BARE, flops=1e15)
    assert clock(fast, ds__zero_stage=3).log_probs(PASSES, 4) == pytest.approx(2 * N / 1e12)
    assert clock(fast, ds__zero_stage=3).training(PASSES, 0) == pytest.approx(3 * 2 * N / 1e12)
    far = clock(fast, ds__zero_stage=3, actor__num_nodes=2)
    assert far.log_probs(PASSES, 4) == pytest.approx(2 * N / 1e11)


def test_seconds_of_an_engine():
    few = Sampled(completion_tokens=(400.0,), looked_at=1e6, prefill_tokens=100.0)
    reading, cache = 100 * 2 * N / 0.5e12, 1e6 / 8 * (2 * 24 * 128 * 2) / 0.5e12
    decoded = shape().forward(400, 400, 1e6) / 8 / 0.5e12
    read = shape().forward(100, 0, 0) / 8 / 0.5e12
    assert reading > decoded  # few sequences: the weights bind
    assert clock().engine(few, 100) == pytest.approx(reading + cache + read)
    assert clock().engine(few, 1) == pytest.approx(max(reading / 100, decoded) + cache + read)


def test_the_slower_of_engine_and_grader_counts():
    slow = replace(BARE, fixed=replace(BARE.fixed, grading=16.0), graders=2)
    few = Sampled(completions=4, trained=4, untrained=1, completion_tokens=(8.0,))
    found = clock(slow).of(few, 1, PASSES, PASSES, 1)
    assert found.generation == found.grader == 16 * 5 / 2 > found.engine
    assert found.total == pytest.approx(found.generation + found.log_probs + found.training + found.sync)
    overlapped = clock(slow, train__async_enable=True).of(few, 1, PASSES, PASSES, 1)
    assert overlapped.total == overlapped.generation


def test_of_several_asynchronous_iterations_each_has_its_own_slower_side():
    one = Seconds(generation=20, log_probs=4, training=5, sync=1, engine=20, grader=1).overlapping()
    other = Seconds(generation=10, log_probs=4, training=10, sync=1, engine=10, grader=1).overlapping()
    assert (one.total, other.total, (one + other).total, (one + other).times(2).total) == (20, 15, 35, 70)


def test_rows_of_no_whole_micro_batch_are_counted():
    args = launch()  # micro-batches of 2
    assert rows(args, visit(state(10, 0, [5, 5, 5]))).log_probs().tokens == 45
    assert rows(args, visit(state(10, 0, [5, 5, 5]))).training().tokens == 45
    assert rows(args, visit(state(10, 0, [5]))).training().tokens == 15
