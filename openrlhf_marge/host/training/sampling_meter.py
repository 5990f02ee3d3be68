"""Counts what OpenRLHF's own generator samples for training, dropped responses included."""

from __future__ import annotations

import time
from statistics import fmean
from typing import Any

from openrlhf_marge.runs.progress import SAMPLED_REWARD, SAMPLED_TOKENS, SAMPLING_SECONDS


class SamplingMeter:
    """Response tokens, mean reward and seconds of a generator since they were last taken.

    With ``--algo.dynamic_filtering_enable`` the host drops groups before it counts anything, and forgets the seconds
    of rollouts of which nothing is left. Responses to evaluation problems are not counted.
    """

    def __init__(self, generator: Any):
        self._generator, self._generate = generator, generator.generate_samples
        self._process = generator._process_response_into_experience  # once for every response that an engine returned
        self._begin_anew()

    def _begin_anew(self) -> None:
        self._tokens, self._seconds = 0, 0.0
        self._rewards: list[float] = []  # none where a reward model judges, which it does later

    def generate(self, **kwargs: Any) -> Any:
        """The generator's ``generate_samples``, counted."""
        begin = time.monotonic()
        self._generator._process_response_into_experience = self._count
        try:
            return self._generate(**kwargs)
        finally:
            self._generator._process_response_into_experience = self._process
            self._seconds += time.monotonic() - begin

    def _count(self, response: Any, **kwargs: Any) -> Any:
        experience = self._process(response, **kwargs)
        self._tokens += int(experience.response_length.sum())
        if experience.rewards is not None:
            self._rewards += experience.rewards.tolist()
        return experience

    def take(self) -> dict[str, float]:
        """What is logged of an update, and begins anew."""
        taken = {SAMPLED_TOKENS: float(self._tokens), SAMPLING_SECONDS: self._seconds}
        if self._rewards:
            taken[SAMPLED_REWARD] = fmean(self._rewards)
        self._begin_anew()
        return taken
