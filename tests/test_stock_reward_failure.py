"""Stock OpenRLHF logs what a reward function raises and goes on; that it then stops is what the package relies on."""

import asyncio
from types import SimpleNamespace

import pytest

pytest.importorskip("openrlhf", reason="the host is not installed")

import torch
from openrlhf.trainer import ppo_trainer
from openrlhf.trainer.ppo_utils import experience_maker
from openrlhf.trainer.ppo_utils.samples_generator import SamplesGenerator
from openrlhf.utils import agent

ARGS = SimpleNamespace(
    rollout=SimpleNamespace(micro_batch_size=2, n_samples_per_prompt=2),
    train=SimpleNamespace(dynamic_batch_enable=False, colocate_all=False, colocate_actor_ref=False),
    ds=SimpleNamespace(ring_attn_size=1, tensor_parallel_size=1),
    algo=SimpleNamespace(
        kl=SimpleNamespace(use_loss=False), advantage=SimpleNamespace(estimator="group_norm", gamma=1)
    ),
    reward=SimpleNamespace(clip_range=(-10, 10), overlong_buffer_len=None, stop_properly_penalty_coef=None),
)


class StockMaker(experience_maker.RemoteExperienceMaker):
    """The host's, with an actor that finds every token certain."""

    def __init__(self) -> None:
        groups = dict.fromkeys(("actor_model_group", "critic_model_group", "reward_model_group"))
        strategy = SimpleNamespace(args=ARGS)
        super().__init__(
            **groups, initial_model_group=None, kl_controller=SimpleNamespace(value=0.0), strategy=strategy,
            tokenizer=SimpleNamespace(pad_token_id=0),
        )  # fmt: skip

    def _dispatch_forward(self, *_, sequences, **__):
        return [torch.zeros(len(batch), 3) for batch in sequences]

    def _flatten_results(self, refs, _):
        return refs


@pytest.fixture
def maker(monkeypatch):
    monkeypatch.setattr(experience_maker, "ray", SimpleNamespace(put=lambda nothing: [None] * len(nothing)))
    return StockMaker()


def rollout(reward_func, label="1"):
    """One response through the host's executor, with an engine that always says the same."""
    executor = agent.SingleTurnAgentExecutor()
    executor.reward_endpoints, executor.reward_func = ["reward.py"], reward_func
    output = SimpleNamespace(token_ids=[3, 4], finish_reason="stop", logprobs=None)

    async def generate(*_, **__):
        return SimpleNamespace(outputs=[output])

    class Tokenizer:
        def __call__(self, **_):
            return {"input_ids": torch.tensor([[1, 2]])}

        def decode(self, ids, **_):
            return "text"

    params = SimpleNamespace(max_tokens=4, logprobs=None)
    engine = SimpleNamespace(generate=generate)
    response = asyncio.run(executor.execute("text", label, params, 16, Tokenizer(), engine))
    return SamplesGenerator.__new__(SamplesGenerator)._process_response_into_experience(response)


def good(queries, prompts, labels):
    rewards = torch.tensor([float(label) for label in labels])
    return {"rewards": rewards, "scores": rewards, "extra_logs": {"grader_timeout": torch.zeros(len(labels))}}


def broken(queries, prompts, labels):
    raise RuntimeError("the grader failed")


def test_without_a_failure_rewards_become_advantages(maker):
    samples = [rollout(good, label) for label in ("1", "0", "0", "1")]
    first, second = maker.make_experience_batch(samples)
    assert first.advantages[:, 0].tolist() == pytest.approx([0.7071068, -0.7071068])
    assert second.info["grader_timeout"].tolist() == [0.0, 0.0]


@pytest.mark.parametrize("missing", range(4))
def test_one_missing_reward_stops_training_wherever_it_stands(maker, missing, monkeypatch):
    said = []
    monkeypatch.setattr(agent.logger, "info", said.append)
    samples = [rollout(broken if i == missing else good) for i in range(4)]
    assert samples[missing].rewards is None
    assert [line for line in said if "Failed" in line] == [
        "[SingleTurnExecutor] Failed to fetch reward from remote RM: the grader failed"
    ]
    with pytest.raises((ValueError, AttributeError)):
        maker.make_experience_batch(samples)


def test_and_evaluation():
    samples = [rollout(good), rollout(broken)]
    with pytest.raises(RuntimeError, match="NoneType"):
        ppo_trainer.compute_eval_metrics([(["data"], ["text"], ["1"], [None])], samples, 2)
