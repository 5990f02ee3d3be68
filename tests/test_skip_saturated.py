"""``--marge.skip_saturated``: what is left out of the batches, and a learning rate that moves on all the same."""

from types import SimpleNamespace

import pytest

pytest.importorskip("openrlhf", reason="the host is not installed")

import torch

from openrlhf_marge import MargeConfig, State, StateGroup
from openrlhf_marge.host.rollout.training_queue import TrainingQueue
from openrlhf_marge.host.training import keeps_records, schedule
from openrlhf_marge.host.training.keeps_records import KeepsRecords
from openrlhf_marge.method.schedule import end_of_plan, skipped_steps

from factories import completion, group, problem
from stack import train

ARGUMENTS = SimpleNamespace(train=SimpleNamespace(batch_size=16, max_epochs=2))


def segment_group(gain: float, segment: int = 2) -> StateGroup:
    state = State(index=1, prefix_ids=(7, 8), segment=segment)
    answers = (completion(1.0), completion(1.0))
    return StateGroup(id=3, problem=problem(), state=state, n_states=2, completions=answers, value_gain=gain)


def queue_of(groups, **options) -> TrainingQueue:
    queue = TrainingQueue(MargeConfig(**options), 4)
    queue.put(groups)
    return queue


def test_groups_of_equal_rewards_are_left_out_and_counted():
    groups = [group(0, (1.0, 0.0)), group(1, (1.0, 1.0, 1.0)), group(2, (0.0, 0.0)), group(3, (0.25, 0.5))]
    queue = queue_of(groups, skip_saturated=True)
    assert [g.id for g in queue.groups] == [0, 3]
    assert (queue.skipped, queue.counts) == (5, {"marge/groups_skipped": 2})
    queue.put(groups[2:])
    assert (queue.skipped, queue.take_counts()) == (7, {"marge/groups_skipped": 3})
    assert queue.take_counts() == {}
    assert list(queue_of(groups).groups) == groups


@pytest.mark.parametrize(
    ("options", "gain", "segment", "kept"),
    [
        (dict(advantage="vine"), 0.5, 2, True),
        (dict(prefix_credit="value_gain"), -0.5, 2, True),
        (dict(advantage="vine"), 0.0, 2, False),
        (dict(advantage="vine"), 0.5, 0, False),  # s_0 has no guidance before it
        (dict(), 0.5, 2, False),
    ],
)
def test_guidance_tokens_that_earn_credit_keep_their_group(options, gain, segment, kept):
    assert bool(queue_of([segment_group(gain, segment)], skip_saturated=True, **options)) == kept


def test_skipped_completions_move_the_schedule_by_whole_steps_once(monkeypatch):
    """Batches of 16, two epochs: 15 completions are no step, 17 are two, and 40 are four in all."""
    moved = []
    monkeypatch.setattr(keeps_records, "move_on", lambda _group, steps: moved.append(steps))
    trainer = KeepsRecords.__new__(KeepsRecords)
    trainer.args = SimpleNamespace(**vars(ARGUMENTS), marge=MargeConfig(skip_saturated=True))
    trainer.actor_model_group = None
    logged = [trainer._skip_steps(SimpleNamespace(skipped=n)) for n in (15, 17, 40, 40)]
    assert moved == [0, 2, 2, 0]
    assert [metrics["marge/skipped_steps"] for metrics in logged] == [0, 2, 4, 4]
    assert skipped_steps(ARGUMENTS, 31) == 2
    trainer.args.marge = MargeConfig()
    assert trainer._skip_steps(SimpleNamespace(skipped=100)) == {} and len(moved) == 4


def test_the_learning_rate_moves_on():
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / 10)
    optimizer.step()
    schedule._move_on(SimpleNamespace(actor_scheduler=scheduler), 4)
    assert (schedule._taken(SimpleNamespace(actor_scheduler=scheduler)), scheduler.get_last_lr()) == (4, [0.6])


def test_what_is_said_at_the_end():
    assert end_of_plan(10, 4, 5.0, 6) == (
        "Training took 4 optimizer steps and skipped 6, of completions that were left out; the learning-rate schedule "
        "was planned for 10"
    )
    assert end_of_plan(10, 4, 5.0, 16).endswith("and would have been for 20 with --marge.expected_states 10.00")


# Half of all responses count as correct, but none of the problems with an even prompt.
REWARD = """
import torch
def reward_func(queries, prompts, labels):
    odd = [sum(map(ord, p)) % 2 for p in prompts]
    rewards = torch.tensor([float(sum(map(ord, q)) % 2 * o) for q, o in zip(queries, odd, strict=True)])
    return {"rewards": rewards, "scores": rewards}
"""


def test_a_run_trains_on_groups_with_signal_alone_and_its_schedule_ends_with_the_data(task, tmp_path, cluster):
    (tmp_path / "reward.py").write_text(REWARD)
    flags = f"""--experience_maker marge --marge.guidance_rule random --marge.split tokens --marge.n_states 3
        --marge.skip_saturated --reward.remote_url {tmp_path}/reward.py --train.num_episodes 3
        --actor.lr_scheduler linear --rollout.n_samples_per_prompt 8"""
    run = train(task, tmp_path, flags, cluster)
    groups, skipped = sum(run.values("marge/groups")), sum(run.values("marge/groups_skipped"))
    assert 0 < skipped < groups
    trained, waiting = sum(run.values("rollout/num_samples")), run.values("marge/completions_waiting")[-1]
    assert trained + waiting == 8 * (groups - skipped)
    taken, moved = run.values("marge/taken_steps"), run.values("marge/skipped_steps")
    assert taken[-1] == trained / 16 and moved[-1] == 8 * skipped // 16
    assert taken[-1] + moved[-1] == pytest.approx(run.values("marge/planned_steps")[0], abs=2)
    assert run.values("actor_lr")[-1] < 0.25 * max(run.values("actor_lr"))
    assert f"and skipped {moved[-1]:.0f}, of completions that were left out" in run.log
