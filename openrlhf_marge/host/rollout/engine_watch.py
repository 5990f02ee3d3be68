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
        self._waiting: set[asyncio.Future[Any]] = set()
        self._watching: asyncio.Task[None] | None = None
        self._heard = 0.0  # when it answered last, by the loop's clock, which nobody sets
        self._error: Exception | None = None

    async def wait(self, answer: Awaitable[Answer]) -> Answer:
        """The answer; RuntimeError when the engine answers nothing at all for both times together."""
        loop, waiting = asyncio.get_running_loop(), asyncio.ensure_future(answer)
        if not self._waiting:  # before, there was nothing to answer
            self._heard, self._watching = loop.time(), loop.create_task(self._watch())
        self._waiting.add(waiting)
        try:
            result = await waiting
        except asyncio.CancelledError:
            if self._error is not None:
                raise self._error from None
            raise
        finally:
            self._waiting.discard(waiting)
            if not self._waiting and self._watching is not None:
                self._watching.cancel()
                self._watching = None  # it holds this object: as a circle the rollout's loop would stay, for good
        self._heard = loop.time()
        return result

    async def _watch(self) -> None:
        """While requests wait: ask the engine when it was silent, and let all of them fail when it hangs."""
        loop = asyncio.get_running_loop()
        while True:
            # Never no time at all, as clocks round.
            await asyncio.sleep(max(0.1, self._heard + SILENT_SECONDS - loop.time()))
            if loop.time() - self._heard < SILENT_SECONDS:
                continue
            try:
                await self._ask()
            except Exception as e:  # noqa: BLE001 - all that wait raise it
                self._error = e
                for waiting in self._waiting:
                    waiting.cancel()
                return
            self._heard = loop.time()

    async def _ask(self) -> None:
        question = asyncio.ensure_future(self._engine.reset_prefix_cache.remote())
        answered, _ = await asyncio.wait([question], timeout=ANSWER_SECONDS)
        if not answered:
            question.cancel()
            raise RuntimeError(
                f"vLLM engine {self._number} has answered nothing for {SILENT_SECONDS + ANSWER_SECONDS} seconds; it "
                "hangs, so resume the run with --ckpt.load_enable"
            )
        question.result()
