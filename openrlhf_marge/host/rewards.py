"""Rewards of completions, through OpenRLHF's own reward client (``--reward.remote_url``: a .py file or HTTP servers).

What OpenRLHF logs and leaves as a missing reward is an error here: a broken grader must never look like a zero.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from openrlhf.utils.agent import SingleTurnAgentExecutor

from openrlhf_marge.host.reward_format import Reward, parse_reward
from openrlhf_marge.redaction import redacted


class RewardClient:
    """Grades (prompt + response) texts; ``urls`` as OpenRLHF's ``args.reward.remote_url``, a list."""

    def __init__(self, urls: Sequence[str]) -> None:
        self._name = redacted(",".join(urls))
        self._executor = SingleTurnAgentExecutor(list(urls))

    async def grade(self, prompt: str, label: str, responses: Sequence[str]) -> list[Reward]:
        """One reward per response, in order; RuntimeError naming the reward function when one cannot be had."""
        return await asyncio.gather(*(self._grade_one(prompt, label, response) for response in responses))

    async def _grade_one(self, prompt: str, label: str, response: str) -> Reward:
        fetch = (
            self._executor._fetch_rewards_via_func
            if self._executor.reward_func
            else self._executor._fetch_rewards_via_http
        )
        try:
            returned = await fetch([prompt + response], [prompt], [label])
            return parse_reward(returned[0] if returned else None)
        except Exception as e:
            raise RuntimeError(
                f"--reward.remote_url {self._name} failed on the problem {prompt[-80:]!r} with label {label!r}: "
                f"{type(e).__name__}: {e}"
            ) from e
