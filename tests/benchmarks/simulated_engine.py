"""A vLLM engine in virtual time: continuous batching, a prefix cache, responses of heavy-tailed length, and faults.

All sequences that run advance by one token a step. A step takes longer the more of them run, and prompt tokens that
are not in the cache take time before the steps go on. What an answer holds depends on its request alone.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from types import SimpleNamespace
from typing import Any

from prefix_blocks import PrefixBlocks
from simulated_responses import CpuMeter, Responses, Speed, flat_log_probs

from virtual_time import VirtualClock

EPSILON = 1e-6  # of a step


@dataclass(eq=False, slots=True)
class _Request:
    ids: Sequence[int]
    answer: asyncio.Future
    outputs: list[Any]
    left: int  # outputs that still run
    cached: int
    fault: str | None
    asked_at: float

    def finish(self) -> None:
        if not self.answer.done():
            outputs = self.outputs * 2 if self.fault == "twice" else self.outputs
            self.answer.set_result(SimpleNamespace(outputs=outputs, num_cached_tokens=self.cached))


class SimulatedEngine:
    """Has what the package uses of a Ray actor handle. ``faults``: number of a request -> what happens then.

    ``dies``: all that it was asked fails, now and later; ``stalls``: it computes nothing for ``STALL`` seconds;
    ``hangs``: for ever; ``late``: this answer comes ``LATE`` seconds later; ``twice``: it holds each output twice.
    """

    STALL, LATE = 90.0, 30.0  # a stall is shorter than what EngineWatch takes for a hang

    def __init__(
        self, clock: VirtualClock, meter: CpuMeter, responses: Responses, speed: Speed, prompt_tokens: int,
        faults: dict[int, str] | None = None,
    ) -> None:  # fmt: skip
        self._clock, self._meter, self._responses, self._speed = clock, meter, responses, speed
        self._prompt_tokens, self.faults = prompt_tokens, faults or {}
        self.cache = PrefixBlocks(speed.cached_tokens)
        self.generate = SimpleNamespace(remote=self._generate)
        self.reset_prefix_cache = SimpleNamespace(remote=self._when_free)
        self.asked = self.tokens = 0
        self.answers: list[tuple[float, float]] = []  # when each came, and after how many seconds
        self.busy = self.slots = 0.0  # seconds in which it computed; the same, times the sequences that ran
        self._reset()

    def _reset(self) -> None:
        self._is_dead, self._timer = False, None
        self._waiting: deque[tuple[_Request, int]] = deque()
        self._running: list[tuple[float, int, _Request]] = []  # the step at which it ends, a number, its request
        self._started = 0
        self._steps = self._debt = 0.0
        self._last, self._open = self._clock.now, set[_Request]()

    def restart(self) -> None:
        """As a new process: what was asked is forgotten."""
        self._reset()
        self.cache.clear()

    def _generate(self, ids: Sequence[int], params: Any) -> asyncio.Future:
        with self._meter:
            return self._add(ids, params)

    def _add(self, ids: Sequence[int], params: Any) -> asyncio.Future:
        loop = asyncio.get_running_loop()
        answer, number = loop.create_future(), self.asked
        self.asked += 1
        fault = self.faults.pop(number, None)
        self._advance()
        if fault == "dies":
            self._die()
        if self._is_dead:
            answer.set_exception(RuntimeError("the actor died unexpectedly before finishing this task"))
            return answer
        if fault in ("stalls", "hangs"):
            self._debt += self.STALL if fault == "stalls" else math.inf
        rng, prefix = random.Random(params.seed), len(ids) - self._prompt_tokens
        drawn = [self._responses.draw(rng, prefix, params.max_tokens) for _ in range(params.n)]
        outputs = [
            SimpleNamespace(token_ids=tokens, finish_reason=why, stop_reason=None, logprobs=flat_log_probs(tokens))
            for tokens, why in drawn
        ]
        request = _Request(ids, answer, outputs, params.n, self.cache.add(ids), fault, self._clock.now)
        self._debt += (len(ids) - request.cached) * self._speed.prefill_seconds
        self._open.add(request)
        self._waiting.extend((request, len(output.token_ids)) for output in outputs)
        self._plan(loop)
        return answer

    def _when_free(self) -> asyncio.Future:
        """A question, which it answers between two steps, and does nothing."""
        loop = asyncio.get_running_loop()
        answer = loop.create_future()
        self._advance()
        if self._is_dead:
            answer.set_exception(RuntimeError("the actor died unexpectedly before finishing this task"))
        elif self._debt < math.inf:
            loop.call_later(self._debt, lambda: answer.done() or answer.set_result(None))
        return answer

    def _advance(self) -> None:
        """Up to now."""
        elapsed, self._last = self._clock.now - self._last, self._clock.now
        if not self._running:
            return
        self.busy += elapsed
        self.slots += elapsed * len(self._running)
        paid = min(self._debt, elapsed)
        self._debt -= paid
        self._steps += (elapsed - paid) / self._seconds_of_a_step()

    def _seconds_of_a_step(self) -> float:
        return self._speed.step_seconds + self._speed.sequence_seconds * len(self._running)

    def _plan(self, loop: asyncio.AbstractEventLoop) -> None:
        """Start what there is room for, and wake up when the next sequence ends."""
        while self._waiting and len(self._running) < self._speed.sequences:
            request, length = self._waiting.popleft()
            self._started += 1
            heappush(self._running, (self._steps + length, self._started, request))
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._running and self._debt < math.inf:
            steps = max(0.0, self._running[0][0] - self._steps)
            seconds = self._debt + steps * self._seconds_of_a_step()
            self._timer = loop.call_at(self._clock.now + seconds, self._wake_up, loop)

    def _wake_up(self, loop: asyncio.AbstractEventLoop) -> None:
        with self._meter:
            self._timer = None
            self._advance()
            while self._running and self._running[0][0] <= self._steps + EPSILON:
                _, _, request = heappop(self._running)
                request.left -= 1
                if not request.left:
                    self._answer(request)
            self._plan(loop)

    def _answer(self, request: _Request) -> None:
        self._open.discard(request)
        self.answers.append((self._clock.now, self._clock.now - request.asked_at))
        self.tokens += sum(len(output.token_ids) for output in request.outputs)
        if len(request.ids) == self._prompt_tokens:  # what may guide, and be gone on from
            for output in request.outputs:
                self.cache.add([*request.ids, *output.token_ids])
        if request.fault == "late":
            asyncio.get_running_loop().call_later(self.LATE, request.finish)
        else:
            request.finish()

    def _die(self) -> None:
        self._is_dead = True
        for request in self._open:
            if not request.answer.done():
                request.answer.set_exception(RuntimeError("the actor died unexpectedly before finishing this task"))
        self._open, self._running = set(), []
        self._waiting.clear()
