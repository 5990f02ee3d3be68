"""Faults at seeded moments, and engines and graders that have them."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

DAY = 86_400.0


class Killed(BaseException):
    """As SIGKILL: nothing that comes after it in the process is done."""


# Fault -> where it strikes, and whether the run that it strikes goes on.
FAULTS = {
    "engine dies": ("engine", False),
    "engine hangs": ("engine", False),
    "engine gives up": ("engine", False),
    "engine answers late": ("engine", True),
    "engine answers twice": ("engine", False),
    "engine answers too little": ("engine", False),
    "object store is full": ("engine", False),
    "object store is full in training": ("train", False),
    "grader returns nonsense": ("grader", False),
    "grader restarts": ("grader", True),
    "grader stays away": ("grader", False),
    "clock jumps": ("train", True),
    "disk is full while dumping": ("dump", False),
    "disk is full while saving": ("state", False),
    "killed while generating": ("engine", False),
    "killed while grading": ("grader", False),
    "killed while dumping": ("dump", False),
    "killed while training": ("train", False),
    "killed while saving the state": ("state", False),
    "killed while saving weights": ("weights", False),
    "killed before the commit": ("commit", False),
    "killed after the commit": ("committed", False),
    "torn checkpoint": ("committed", False),
}
CALLS = {"engine": 40, "grader": 120}  # within which of so many calls a fault strikes; elsewhere within 3
NONSENSE = (
    *(None, {}, [], "0", {"rewards": None}, {"rewards": "x"}, {"rewards": float("nan")}, {"rewards": 7}),
    *({"rewards": [1.0, 0.0]}, {"rewards": -1}, {"rewards": 1, "scores": 2}, {"rewards": 1, "extra_logs": 3}),
    {"rewards": 1, "extra_logs": {"a": float("inf")}},
)


@dataclass
class Chaos:
    """One fault at a time; ``struck`` counts them."""

    rng: random.Random
    armed: str | None = None
    calls: int = 0
    left: int = 0  # faults still to come
    struck: list[str] = field(default_factory=list)
    must_end: str | None = None  # a fault of this life that it may not survive
    since: float | None = None  # virtual time at which a fault struck that must end the run
    offset: float = 0.0  # of the clock on the wall

    def arm(self) -> None:
        """Choose the next fault, where one is left."""
        if self.armed is not None or not self.left:
            return
        self.left -= 1
        self.armed = self.rng.choice(sorted(FAULTS))
        self.calls = self.rng.randint(1, CALLS.get(FAULTS[self.armed][0], 3))

    def strikes(self, place: str) -> str | None:
        """The fault that strikes in this call, if any."""
        if self.armed is None or FAULTS[self.armed][0] != place:
            return None
        self.calls -= 1
        if self.calls:
            return None
        fault, self.armed = self.armed, None
        self.struck.append(fault)
        if FAULTS[fault][1]:
            self.arm()  # the run goes on
        else:
            self.must_end = fault
        return fault


class Engine:
    """An actor whose answers depend on the prompt and the seed alone; their lengths have a heavy tail."""

    def __init__(self, chaos: Chaos, eos: int, vocabulary: int) -> None:
        self._chaos, self._eos, self._vocabulary = chaos, eos, vocabulary
        self._busy, self._hangs = 0, False
        self.generate = SimpleNamespace(remote=self._generate)
        self.reset_prefix_cache = SimpleNamespace(remote=self._reset)

    async def _reset(self) -> None:
        await asyncio.sleep(1e12 if self._hangs else 0.1)

    async def _generate(self, ids: list[int], params: Any) -> Any:
        fault = self._chaos.strikes("engine")
        rng = random.Random(f"{ids} {params.seed}")
        outputs = [self._output(rng, params.max_tokens) for _ in range(params.n)]
        self._busy += 1
        late = 3000.0 if fault == "engine answers late" else 0.0
        if fault and not late:
            self._chaos.since = asyncio.get_running_loop().time()
        self._hangs = self._hangs or fault == "engine hangs"
        slow = 0.02 * max(len(o.token_ids) for o in outputs) * (1 + self._chaos.rng.random()) * self._busy
        await asyncio.sleep(1e12 if self._hangs else late + slow)
        self._busy -= 1
        match fault:
            case "engine dies":
                raise ConnectionError("The actor died unexpectedly before finishing this task.")
            case "object store is full":
                raise MemoryError("Failed to put object in object store because it is full.")
            case "killed while generating":
                raise Killed
            case "engine gives up":
                outputs[-1].finish_reason = "abort"
            case "engine answers twice":
                outputs = [*outputs, *outputs]
            case "engine answers too little":
                outputs = outputs[:-1]
        return SimpleNamespace(outputs=outputs, num_cached_tokens=0)

    def _output(self, rng: random.Random, most: int) -> Any:
        length = min(most, 1 + int(rng.paretovariate(1.2)))
        ids = [rng.randrange(4, self._vocabulary) for _ in range(length)]
        ended = length < most
        ids[-1] = self._eos if ended else ids[-1]
        return SimpleNamespace(
            token_ids=ids, finish_reason="stop" if ended else "length", stop_reason=None, logprobs=None
        )


def reward_of(query: str) -> float:
    return float(sum(map(ord, query)) % 2)


class Grader:
    """What the reward client's requests get, in place of a server."""

    def __init__(self, chaos: Chaos) -> None:
        self._chaos = chaos

    async def fetch(self, queries: list[str], prompts: list[str], labels: list[str]) -> list[Any]:
        fault = self._chaos.strikes("grader")
        await asyncio.sleep(0.01 * (1 + self._chaos.rng.random()))
        if fault and not FAULTS[fault][1]:
            self._chaos.since = asyncio.get_running_loop().time()
        match fault:
            case "grader restarts":
                await asyncio.sleep(self._chaos.rng.uniform(0.5, 4))
            case "grader stays away":
                await asyncio.sleep(5)
                raise RuntimeError("Request error for 5 times, returning None. Please check the API server.")
            case "grader returns nonsense":
                return [self._chaos.rng.choice(NONSENSE)]
            case "killed while grading":
                raise Killed
        return [{"rewards": reward_of(query), "extra_logs": {"graded": 1.0}} for query in queries]
