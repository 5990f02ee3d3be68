"""Asks whether the vLLM engines still answer, where a dead engine would keep everybody waiting."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ray

ANSWER_SECONDS = 60


def check_engines(engines: Sequence[Any]) -> None:
    """RuntimeError naming the engine whose actor or core has died, or does not answer within ``ANSWER_SECONDS``.

    The weights go to all engines as one collective operation, which waits for a dead one until its own limit, 30
    minutes and more. What is asked reaches the engine's core and does nothing that the host does not do there, too:
    it empties the prefix cache, whose entries are of the old weights.
    """
    answers = [engine.reset_prefix_cache.remote() for engine in engines]
    for number, answer in enumerate(answers):
        try:
            ray.get(answer, timeout=ANSWER_SECONDS)
        except Exception as e:
            raise RuntimeError(
                f"vLLM engine {number} failed before it got the new weights: {type(e).__name__}: {e}; resume the run "
                "with --ckpt.load_enable"
            ) from e
