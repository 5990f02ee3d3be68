"""The package's own generator on simulated engines, grader and prompt loader."""

from __future__ import annotations

import sys
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tokenizers import pre_tokenizers
from transformers import Qwen2Tokenizer

from openrlhf_marge import MargeConfig
from openrlhf_marge.arithmetic.model import PAD, TURN_END, TURN_START
from openrlhf_marge.host.rollout.samples_generator import GuidedSamplesGenerator

sys.path.append(str(Path(__file__).parents[1]))  # helpers of the tests

from simulated_engine import SimulatedEngine
from simulated_explorers import SimulatedExplorers
from simulated_responses import CpuMeter, Responses, Speed

from host_objects import generator_on
from virtual_time import VirtualClock

WORDS = 20_000
PROMPT = "Problem {number:012d}: " + "how many are there of them in all, if one of each is taken away? " * 2


def build_tokenizer() -> Qwen2Tokenizer:
    """With as many words as make ids that Python does not keep, each about as long as those of real vocabularies."""
    words = [f"\u0120{number:04x}" for number in range(WORDS)]
    pieces = (PAD, TURN_START, TURN_END, *sorted(pre_tokenizers.ByteLevel.alphabet()), *words)
    return Qwen2Tokenizer(
        vocab={piece: number for number, piece in enumerate(pieces)}, merges=[], unk_token=None, pad_token=PAD,
        eos_token=PAD, clean_up_tokenization_spaces=False, padding_side="left",
    )  # fmt: skip


class SimulatedLoader:
    """OpenRLHF's prompt loader, as far as it is used: one problem an item, and a place to go on from."""

    dataset = None

    def __init__(self, n_problems: int) -> None:
        self._n, self.place = n_problems, 0

    def __len__(self) -> int:
        return self._n

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        while self.place < self._n:
            self.place += 1
            yield None, [PROMPT.format(number=self.place)], [str(self.place)], [None]
        self.place = 0


class SimulatedGrader:
    """A reward function without its threads: a problem is as hard, and a response as right, as its text says."""

    reward_func = True  # that it is no server

    def __init__(self, meter: CpuMeter) -> None:
        self._meter, self.asked, self.fails_at = meter, 0, -1

    async def _fetch_rewards_via_func(self, queries, prompts, labels):
        with self._meter:
            self.asked += 1
            if self.asked == self.fails_at:
                raise ConnectionError("the grader is gone")
            hardness = zlib.crc32(prompts[0].encode()) % 1000
            right = float(zlib.crc32(queries[0].encode()) % 1000 >= hardness)
            return [{"rewards": right, "scores": right}]


@dataclass(frozen=True, kw_only=True)
class Shape:
    """Of a simulated run."""

    engines: int = 64
    problems: int = 2000  # of a rollout
    rollouts: int = 1
    completions: int = 8
    batch: int = 1024
    max_response: int = 2048
    slow: int = 0  # engines that take twice as long
    explorers: int = 1
    responses: dict[str, float] = field(default_factory=dict)
    speed: Speed = field(default_factory=Speed)
    config: MargeConfig = field(default_factory=lambda: MargeConfig(split="tokens", guidance_source="fresh"))


@dataclass
class Cluster:
    """Engines, grader and loader outlive the generator, which a crash ends."""

    shape: Shape
    clock: VirtualClock
    model: Path  # an empty folder
    meter: CpuMeter = field(default_factory=CpuMeter)

    def __post_init__(self) -> None:
        shape = self.shape
        self.tokenizer = build_tokenizer()
        prompt_tokens = len(self.tokenizer(text=PROMPT.format(number=1))["input_ids"])
        self.max_len = prompt_tokens + shape.max_response
        responses = Responses.of(range(len(self.tokenizer) - WORDS, len(self.tokenizer)), **shape.responses)
        speeds = [shape.speed.times(2.0 if number < shape.slow else 1.0) for number in range(shape.engines)]
        self.engines = [SimulatedEngine(self.clock, self.meter, responses, speed, prompt_tokens) for speed in speeds]
        self.loader = SimulatedLoader(shape.problems * shape.rollouts)
        self.grader = SimulatedGrader(self.meter)

    def generator(self) -> tuple[GuidedSamplesGenerator, dict[str, Any]]:
        """A new process of the driver."""
        shape = self.shape
        generator, kwargs = generator_on(
            self.loader, self.tokenizer, self.engines, shape.config, problems=shape.problems,
            completions=shape.completions, batch=shape.batch, max_len=self.max_len, seeded=True, model=str(self.model),
        )  # fmt: skip
        generator.reward_client._executor = self.grader
        if shape.explorers > 1:
            generator._explorers = SimulatedExplorers(self, generator, shape.explorers)
        return generator, kwargs

    def new_weights(self) -> None:
        """What a weight update does to the engines: their caches are emptied."""
        for engine in self.engines:
            engine.cache.clear()
