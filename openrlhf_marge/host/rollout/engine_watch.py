"""Waits for an engine's answers, and tells an engine that hangs from one whose answers take long."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any, TypeVar

Answer = TypeVar("Answer")
# A response of many thousand tokens takes minutes; what hangs must end the run within two.
SILENT_SECONDS, ANSWER_SECONDS = 30, 80


class EngineWatch:
    """Of one engine, within one event loop.

    An engine that answered none of the requests for ``SILENT_SECONDS`` is asked something that it answers between two
    tokens. It empties the prefix cache, which an engine refuses while it computes: nothing changes.
    """

    def __init__(self, engine: Any, number: int) -> None:
        self._engine, self._number = engine, number
        self._asking = asyncio.Lock()
        self._waiting = 0  # requests
        self._heard = 0.0  # when it answered last, by the loop's clock, which nobody sets

    async def wait(self, answer: Awaitable[Answer]) -> Answer:
        """The answer; RuntimeError when the engine answers nothing at all for both times together."""
        loop, waiting = asyncio.get_running_loop(), asyncio.ensure_future(answer)
        if not self._waiting:
            self._heard = loop.time()  # before, there was nothing to answer
        self._waiting += 1
        try:
            while not (await asyncio.wait([waiting], timeout=self._silent_for()))[0]:
                await self._ask()
        finally:
            self._waiting -= 1
            waiting.cancel()
        self._heard = loop.time()
        return waiting.result()

    def _silent_for(self) -> float:
        """Seconds until it has been silent for too long; never none at all, as clocks round."""
        return max(0.1, self._heard + SILENT_SECONDS - asyncio.get_running_loop().time())

    async def _ask(self) -> None:
        """One question at a time, however many requests wait."""
        loop = asyncio.get_running_loop()
        async with self._asking:
            if loop.time() - self._heard < SILENT_SECONDS:
                return
            question = asyncio.ensure_future(self._engine.reset_prefix_cache.remote())
            answered, _ = await asyncio.wait([question], timeout=ANSWER_SECONDS)
            if not answered:
                question.cancel()
                raise RuntimeError(
                    f"vLLM engine {self._number} has answered nothing for {SILENT_SECONDS + ANSWER_SECONDS} seconds; "
                    "it hangs, so resume the run with --ckpt.load_enable"
                )
            question.result()
            self._heard = loop.time()
