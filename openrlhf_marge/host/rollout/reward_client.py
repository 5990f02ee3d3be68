"""Rewards of completions, through OpenRLHF's own reward client (``--reward.remote_url``: a .py file or HTTP servers).

What OpenRLHF logs and leaves as a missing reward is an error here: a broken grader must never look like a zero.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from openrlhf.utils.agent import SingleTurnAgentExecutor

from openrlhf_marge.data.redaction import redacted
from openrlhf_marge.rewards.returned import Reward, parse_reward

# HTTP requests of one server at once. OpenRLHF opens a connection for each and gives up after 180 s, so thousands at
# once would run out of files, or of time behind each other. Calls of a .py function are bounded by their threads.
REQUESTS_PER_SERVER = 64


class RewardClient:
    """Grades (prompt + response) texts; ``urls`` as OpenRLHF's ``args.reward.remote_url``, a list.

    ``clients`` is how many of these a run has at once, in processes of their own: together they ask a server for no
    more than one alone would.
    """

    def __init__(self, urls: Sequence[str], clients: int = 1) -> None:
        self._name = redacted(",".join(urls))
        self._executor = SingleTurnAgentExecutor(list(urls))
        self._most_requests = max(1, REQUESTS_PER_SERVER * len(urls) // clients)
        self._requests: asyncio.Semaphore | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def grade(self, prompt: str, label: str, responses: Sequence[str]) -> list[Reward]:
        """One reward per response, in order; RuntimeError naming the reward function when one cannot be had."""
        return await asyncio.gather(*(self._grade_one(prompt, label, response) for response in responses))

    async def _grade_one(self, prompt: str, label: str, response: str) -> Reward:
        try:
            returned = await self._fetch([prompt + response], [prompt], [label])
            return parse_reward(returned[0] if returned else None)
        except Exception as e:
            raise RuntimeError(
                f"--reward.remote_url {self._name} failed on the problem {prompt[-80:]!r} with label {label!r}: "
                f"{type(e).__name__}: {e}"
            ) from e

    async def _fetch(self, *batch: list[str]) -> list[Any]:
        if self._executor.reward_func:
            return await self._executor._fetch_rewards_via_func(*batch)
        loop = asyncio.get_running_loop()
        if self._requests is None or self._loop is not loop:  # every rollout runs a loop of its own
            self._loop, self._requests = loop, asyncio.Semaphore(self._most_requests)
        async with self._requests:
            return await self._executor._fetch_rewards_via_http(*batch)
