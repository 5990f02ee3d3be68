"""The learning-rate schedule: what it counts on, what it says when it counts wrong, and its end."""

from types import SimpleNamespace

import pytest

pytest.importorskip("openrlhf", reason="the host is not installed")

import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import get_scheduler

from openrlhf_marge import MargeConfig
from openrlhf_marge.host.training import schedule
from openrlhf_marge.host.training.schedule import hold_end
from openrlhf_marge.method.schedule import can_miss_plan, end_of_plan, wrong_plan

NAMES = [
    "linear", "cosine", "cosine_with_restarts", "polynomial", "constant", "constant_with_warmup", "inverse_sqrt",
    "cosine_with_min_lr", "cosine_warmup_with_min_lr",
]  # fmt: skip


def host_scheduler(name: str, planned: int, warmup: int = 3):
    """As OpenRLHF makes it (utils/deepspeed/deepspeed.py), for a peak of 1."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    specific = {"min_lr_rate": 0.1} if "min_lr" in name else {}
    return get_scheduler(name, optimizer, warmup, planned, scheduler_specific_kwargs=specific)


def actor(scheduler, name: str, planned: int, rate: float = 1.0, optim: str = "adam"):
    """What OpenRLHF's actor has of it."""
    args = SimpleNamespace(actor=SimpleNamespace(lr_scheduler=name, optim=optim, adam=SimpleNamespace(lr=rate)))
    return SimpleNamespace(actor_scheduler=scheduler, max_steps=planned, strategy=SimpleNamespace(args=args))


def held_actor(name: str, planned: int):
    made = actor(host_scheduler(name, planned), name, planned)
    assert schedule._hold_end(made) == planned
    return made


def rates(scheduler, steps: int) -> list[float]:
    """The learning rates of the next steps."""
    taken = []
    for _ in range(steps):
        taken.append(scheduler.optimizer.param_groups[0]["lr"])
        scheduler.optimizer.step()
        scheduler.step()
    return taken


def test_the_papers_states_do_not_bring_the_learning_rate_back():
    """2935 steps are planned for 4.42 states a problem; with the 9.1 of Qwen2.5 6043 are taken."""
    planned, taken = 2935, 6043
    stock = rates(host_scheduler("cosine_with_min_lr", planned), taken)
    held = rates(held_actor("cosine_with_min_lr", planned).actor_scheduler, taken)
    assert stock[-1] == pytest.approx(0.9921, abs=1e-4)
    assert held[-1] == held[planned] == pytest.approx(0.1)
    assert held[:planned] == stock[:planned]


@pytest.mark.parametrize("name", NAMES)
def test_no_schedule_of_the_host_rises_again_and_none_is_changed_before_its_end(name):
    stock, held = rates(host_scheduler(name, 20), 100), rates(held_actor(name, 20).actor_scheduler, 100)
    assert held[:20] == stock[:20]
    assert held[3:] == sorted(held[3:], reverse=True)  # after the warm-up
    assert held == stock or "cosine" in name
    assert held[-1] == pytest.approx({"inverse_sqrt": (99 / 3) ** -0.5, "cosine": 0.0}.get(name, held[20]))


@given(planned=st.integers(1, 50), warmup=st.integers(0, 50), step=st.integers(0, 500))
def test_it_is_the_schedule_up_to_the_end_and_one_number_from_there_on(planned, warmup, step):
    stock = host_scheduler("cosine_with_min_lr", planned, warmup).lr_lambdas[0]
    held = hold_end(stock, planned)
    assert held(step) == stock(step) if step < planned - 1 else held(step) in (stock(planned), stock(planned - 1))
    assert held(planned + step) == held(planned)


@pytest.mark.parametrize("held_before", [True, False])
def test_a_resumed_schedule_stays_at_its_end(held_before):
    """Without ``held_before`` the checkpoint is of a run whose rate had climbed to 0.55 again."""
    saved = (held_actor if held_before else lambda *a: actor(host_scheduler(*a), *a))("cosine_with_min_lr", 23)
    rates(saved.actor_scheduler, 33)
    scheduler = host_scheduler("cosine_with_min_lr", 23)
    scheduler.load_state_dict(saved.actor_scheduler.state_dict())
    scheduler.optimizer.load_state_dict(saved.actor_scheduler.optimizer.state_dict())
    assert scheduler.optimizer.param_groups[0]["lr"] == pytest.approx(0.1 if held_before else 0.55)
    resumed = actor(scheduler, "cosine_with_min_lr", 23)
    schedule._hold_end(resumed)
    assert schedule._taken(resumed) == 33
    assert rates(scheduler, 40) == pytest.approx([0.1] * 40)


@pytest.mark.parametrize("name", NAMES)
def test_a_resumed_run_with_another_learning_rate_has_it(name):
    """LambdaLR takes the rate of the checkpoint; Muon's groups have rates of their own, which stay."""
    saved = held_actor(name, 23)
    rates(saved.actor_scheduler, 10)
    went_on = rates(saved.actor_scheduler, 5)
    for optim, factor in (("adam", 0.1), ("muon", 1.0)):
        scheduler = host_scheduler(name, 23)
        scheduler.load_state_dict(saved.actor_scheduler.state_dict() | {"last_epoch": 10, "_step_count": 11})
        schedule._hold_end(actor(scheduler, name, 23, 0.1, optim))
        assert rates(scheduler, 5) == pytest.approx([factor * rate for rate in went_on])


def test_a_resumed_run_with_another_plan_follows_it_from_its_first_step():
    saved = held_actor("cosine_with_min_lr", 23)
    rates(saved.actor_scheduler, 23)
    scheduler = host_scheduler("cosine_with_min_lr", 43)
    scheduler.load_state_dict(saved.actor_scheduler.state_dict())
    schedule._hold_end(actor(scheduler, "cosine_with_min_lr", 43))
    assert rates(scheduler, 21) == pytest.approx(rates(host_scheduler("cosine_with_min_lr", 43), 44)[23:])


@pytest.mark.parametrize(
    ("config", "states"),
    [
        (dict(split="tokens", n_states=7, n_guidances=3), 19.0),  # s_0, and six of each guidance
        (dict(split="step", n_guidances=2), 7.84),
        (dict(split="step", n_guidances=2, expected_states=6.5), 6.5),  # of all guidances
        (dict(split="tokens", n_states=5, max_states=3, n_guidances=2), 5.0),
        (dict(split="step", max_states=3), 3.0),
        (dict(split="tokens", n_states=5, explore="vanilla"), 5.0),
        (dict(split="tokens", n_states=5, explore="vanilla", vanilla_match="tokens"), 3.0),
    ],
)
def test_all_guidances_are_counted(config, states):
    assert MargeConfig(**config).scheduled_states == pytest.approx(states)


def test_a_wrong_plan_is_said_with_the_flags_right_value():
    said = (
        "The first rollout brought 9.08 states a problem, those without guidance included, and the learning-rate "
        "schedule counts on 4.42: it is planned for 2935 optimizer steps, about 6029 come at this rate, and the "
        "learning rate stays at the end of its schedule from there on; set --marge.expected_states 9.08, also when "
        "you resume"
    )
    assert wrong_plan(2935, 4.42, 9.08) == said
    assert "does not get to its end; set --marge.expected_states 2.00" in wrong_plan(2935, 4.42, 2.0)
    assert wrong_plan(100, 4.0, 4.39) is None is wrong_plan(100, 4.0, 3.61)
    assert wrong_plan(100, 4.0, 4.41) and wrong_plan(100, 4.0, 3.59)


def test_the_end_of_a_run_says_what_would_have_been_the_right_plan():
    took = "Training took {} optimizer steps; the learning-rate schedule was planned for 100"
    assert end_of_plan(100, 109, 5.0) == took.format(109)
    assert (
        end_of_plan(100, 75, 5.0) == took.format(75) + ", and would have been for 75 with --marge.expected_states 3.75"
    )


@pytest.mark.parametrize(
    ("lr_scheduler", "replay_dir", "can"),
    [("cosine_with_min_lr", None, True), ("constant", None, False), ("linear", "dumps", False)],
)
def test_a_constant_learning_rate_and_a_replay_have_no_plan_to_miss(lr_scheduler, replay_dir, can):
    actor, marge = SimpleNamespace(lr_scheduler=lr_scheduler), SimpleNamespace(replay_dir=replay_dir)
    assert can_miss_plan(SimpleNamespace(actor=actor, marge=marge)) == can
