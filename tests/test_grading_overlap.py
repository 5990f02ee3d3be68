"""Grading in a training process: its event loop goes on with sampling, and all workers are used at once."""

import asyncio

import pytest

pytest.importorskip("openrlhf", reason="the host is not installed")

from openrlhf_marge.host.rollout.reward_client import RewardClient

REWARD = """
import torch
from openrlhf_marge.grading.pool import GraderPool
pool = GraderPool(n_workers=2, function="grader_functions:awaits")
def reward_func(queries, prompts, labels):
    rewards = torch.tensor([float(pool.symbolically_equal(q[1:], label)) for q, label in zip(queries, labels)])
    return {"rewards": rewards, "scores": rewards, "extra_logs": {}}
"""


def test_sampling_goes_on_while_two_workers_grade(tmp_path):
    (tmp_path / "reward.py").write_text(REWARD)
    begun, sampled = [tmp_path / "first", tmp_path / "second"], tmp_path / "sampled"

    async def sample():
        while not all(path.exists() for path in begun):  # both are being compared
            await asyncio.sleep(0.01)
        sampled.touch()  # only now can the comparisons end

    async def rollout():
        client = RewardClient([str(tmp_path / "reward.py")])
        rewards, _ = await asyncio.gather(client.grade("P", str(sampled), list(map(str, begun))), sample())
        return [reward.value for reward in rewards]

    assert asyncio.run(rollout()) == [1.0, 1.0]
