"""Mean lengths given by hand -> a pilot: states evenly spaced along the response, lengths of completions spread."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from itertools import cycle
from statistics import NormalDist
from typing import Any

import numpy as np

from openrlhf_marge.method.explorations.frontier import FRONTIER_STATES
from openrlhf_marge.planning.devices import method_of
from openrlhf_marge.planning.pilot import Pilot
from openrlhf_marge.planning.visits import SampledState, SampledVisit

PARTS = 100  # visits of the pilot, of which some have a state more and some no guidance
SPREAD, QUANTILES = 0.5, 16  # lengths are log-normal with this deviation of their logarithm: an assumption


@dataclass(frozen=True, kw_only=True)
class Lengths:
    """Tokens of a prompt and of a whole response with s_0; ``states`` per problem that has guidance."""

    prompt: int
    response: int
    s0: int = 0
    states: float = 1.0
    without_guidance: float = 0.0  # share of the problems

    def __post_init__(self) -> None:
        if self.prompt < 1 or self.response <= self.s0:
            raise ValueError(
                f"--prompt_tokens {self.prompt} and --response_tokens {self.response} must be above 0, the latter "
                f"more than the {self.s0} tokens or so of --marge.cot_prefix"
            )
        if not 1 <= self.states < math.inf or not 0 <= self.without_guidance < 1:
            raise ValueError(
                f"--states {self.states:g} must be a number from 1 on, and --without_guidance "
                f"{self.without_guidance:g} a share below 1"
            )


def pilot_by_hand(lengths: Lengths, args: Any) -> Pilot:
    """What problems of such lengths bring under the flags; ValueError where the exploration needs a real pilot."""
    config = method_of(args)
    if config and config.explore not in ("guided", "vanilla", "frontier"):
        raise ValueError(
            f"--marge.explore {config.explore} samples what lengths alone do not tell; give a --pilot, such as the "
            "--marge.dump_dir of a run over a few problems"
        )
    if lengths.prompt + lengths.response > args.data.max_len:
        raise ValueError(
            f"--prompt_tokens {lengths.prompt} and --response_tokens {lengths.response} are together more than "
            f"--data.max_len {args.data.max_len}; give mean lengths"
        )
    makers = _Maker(lengths, args)
    # Spread, so that any run of the visits has about as many of each kind.
    visits = tuple(makers.visit(part) for part in sorted(range(PARTS), key=_place))
    return Pilot(name="the command line", first=visits, is_assumed=True)


class _Maker:
    """Makes visits whose token ids nothing else has."""

    def __init__(self, lengths: Lengths, args: Any) -> None:
        self._lengths, self._args = lengths, args
        self._next = 1  # token id
        self._factors = cycle(length_factors())

    def visit(self, part: int) -> SampledVisit:
        """The first parts have no guidance."""
        lengths, config, n = self._lengths, method_of(self._args), self._args.rollout.n_samples_per_prompt
        prompt, response = self._ids(lengths.prompt), self._ids(lengths.response)
        unguided = part < round(PARTS * lengths.without_guidance)
        n_states = math.floor(lengths.states) + (_place(part) < lengths.states % 1)

        def state(share: float, amount: int, trained: bool = True) -> SampledState:
            return self._state(prompt, response, share, amount, trained)

        if config is None:
            return SampledVisit(problem=str(part), states=(state(0.0, n),))
        if config.explore == "vanilla":
            more = 0 if unguided else (n_states - 1) / (2 if config.vanilla_match == "tokens" else 1)
            return SampledVisit(problem=str(part), states=(state(0.0, n + round(n * more)),))
        if config.explore == "frontier":
            # A state of so many problems has completions; where it lies is not known, so half-way.
            has_state = not unguided and _place(part) < 2 * FRONTIER_STATES
            further = [state(0.5, config.frontier_samples)] * (config.frontier_states if has_state else 0)
            return SampledVisit(problem=str(part), states=(state(0.0, n), *further))
        carried = config.guidance_source == "carried"
        candidates = (state(0.0, config.n_candidates, trained=False),) if carried else ()
        alone = () if carried else (state(0.0, n),)
        states = alone if unguided else tuple(state(j / n_states, n) for j in range(n_states))
        return SampledVisit(problem=str(part), states=states, untrained=candidates)

    def _state(
        self, prompt: np.ndarray, response: np.ndarray, share: float, amount: int, trained: bool
    ) -> SampledState:
        """The state after this share of the response, and completions of the rest of it on average."""
        prefix = self._lengths.s0 + math.floor(share * (len(response) - self._lengths.s0))
        mean, room = len(response) - prefix, self._args.data.max_len - len(prompt) - prefix
        mean = _before_the_limit(mean, room)
        sizes = [max(1, min(room, round(mean * next(self._factors)))) for _ in range(amount)]
        completions = tuple(map(self._ids, sizes))
        context = np.concatenate([prompt, response[:prefix]])
        kept = completions if trained else ()
        return SampledState(context=context, prefix=prefix, completions=completions, trained=kept)

    def _ids(self, n: int) -> np.ndarray:
        self._next += n
        return np.arange(self._next - n, self._next, dtype=np.int64)


@lru_cache
def _before_the_limit(mean: int, room: int) -> float:
    """The mean of a distribution which, with what is longer than the room cut there, has the mean asked for."""
    factors, low, high = length_factors(), float(mean), float(mean)
    while sum(min(room, high * f) for f in factors) / QUANTILES < min(mean, room - 1):
        high *= 2
    for _ in range(40):
        middle = (low + high) / 2
        short = sum(min(room, middle * f) for f in factors) / QUANTILES < mean
        low, high = (middle, high) if short else (low, middle)
    return high


def length_factors() -> list[float]:
    """Quantiles of a log-normal distribution with the mean 1, in an order that mixes long and short ones."""
    normal = NormalDist(sigma=SPREAD)
    values = [math.exp(normal.inv_cdf((i + 0.5) / QUANTILES)) for i in range(QUANTILES)]
    mean = sum(values) / QUANTILES
    return [values[i] / mean for i in sorted(range(QUANTILES), key=_place)]


def _place(part: int) -> float:
    """Of a part in [0, 1), so that consecutive ones are spread (the golden ratio's multiples)."""
    return (part * 0.6180339887498949) % 1
