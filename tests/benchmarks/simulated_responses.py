"""How fast a simulated engine is, what it answers, and how the time of the simulation itself is told apart."""

from __future__ import annotations

import random
import time
from array import array
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

EOS = 0
POOL = 1 << 16  # random tokens, of which a response is a slice


@dataclass(frozen=True, kw_only=True)
class Speed:
    """About a 7B model on an H100: 128 sequences give 7,500 tokens a second."""

    sequences: int = 128  # at once: vLLM's max_num_seqs in OpenRLHF
    step_seconds: float = 0.009
    sequence_seconds: float = 0.00006  # of a step, for each sequence
    prefill_seconds: float = 0.00003  # for each prompt token that is not in the cache
    cached_tokens: int = 400_000

    def times(self, factor: float) -> Speed:
        """All takes so many times as long."""
        seconds = ("step_seconds", "sequence_seconds", "prefill_seconds")
        return replace(self, **{name: factor * getattr(self, name) for name in seconds})


@dataclass(frozen=True, kw_only=True)
class Responses:
    """Lengths are log-normal, cut at the room; what is left of a response after a prefix is shorter by that."""

    median: float = 300.0
    sigma: float = 0.8
    tokens: array = field(default_factory=lambda: array("i"), repr=False)

    @classmethod
    def of(cls, vocabulary: range, **options: Any) -> Responses:
        ranks = range(1, len(vocabulary) + 1)
        words = random.Random(0).choices(vocabulary, [1 / rank for rank in ranks], k=2 * POOL)  # Zipf's law
        return cls(tokens=array("i", words), **options)

    def draw(self, rng: random.Random, prefix: int, room: int) -> tuple[list[int], str]:
        """Token ids, new objects as those that Ray unpickles, and why they ended."""
        whole = rng.lognormvariate(0.0, self.sigma) * self.median
        length = int(max(whole - prefix, whole / 5, 1))
        start = rng.randrange(POOL)
        if length >= room:
            return self.tokens[start : start + room].tolist(), "length"
        return [*self.tokens[start : start + length].tolist(), EOS], "stop"


LOG_PROBS = [-random.Random(0).random() / place for place in range(1, POOL)]


def flat_log_probs(tokens: list[int]) -> SimpleNamespace:
    """As vLLM's FlatLogprobs: one for each token; new floats, as those that Ray unpickles."""
    n = len(tokens)
    return SimpleNamespace(
        start_indices=list(range(n)), token_ids=[*tokens], logprobs=[value * 0.5 for value in LOG_PROBS[:n]]
    )


@dataclass
class CpuMeter:
    """CPU seconds of the simulation itself, which are none of the driver's."""

    seconds: float = 0.0
    _start: float = 0.0

    def __enter__(self) -> None:
        self._start = time.thread_time()

    def __exit__(self, *_: Any) -> None:
        self.seconds += time.thread_time() - self._start
