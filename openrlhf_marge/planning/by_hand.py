"""Lengths given by hand -> a pilot of one or two visits, with states evenly spaced along the response."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import count
from typing import Any

import numpy as np

from openrlhf_marge.method.config import FRONTIER_STATES
from openrlhf_marge.planning.devices import method_of
from openrlhf_marge.planning.pilot import Pilot
from openrlhf_marge.planning.visits import SampledState, SampledVisit

PARTS = 100  # visits of the pilot, of which some have a state more and some no guidance


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
                f"--prompt_tokens {self.prompt} and --response_tokens {self.response} must be above 0, the latter more "
                f"than the {self.s0} tokens or so of --marge.cot_prefix"
            )
        if not self.states >= 1 or not 0 <= self.without_guidance < 1:
            raise ValueError(
                f"--states {self.states:g} must be at least 1, and --without_guidance {self.without_guidance:g} a "
                "share below 1"
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
    fresh = iter(count(1))
    visits = tuple(_visit(part, lengths, args, fresh) for part in range(PARTS))
    return Pilot(name="lengths by hand", first=visits)


def _visit(part: int, lengths: Lengths, args: Any, fresh: Any) -> SampledVisit:
    config, n = method_of(args), args.rollout.n_samples_per_prompt
    prompt, response = _ids(lengths.prompt, fresh), _ids(lengths.response, fresh)
    s0 = np.concatenate([prompt, response[: lengths.s0]])

    def state(share: float, amount: int, trained: bool = True) -> SampledState:
        prefix = lengths.s0 + math.floor(share * (lengths.response - lengths.s0))
        completions = tuple(_ids(lengths.response - prefix, fresh) for _ in range(amount))
        context = np.concatenate([s0[: lengths.prompt], response[:prefix]])
        kept = completions if trained else ()
        return SampledState(context=context, prefix=prefix, completions=completions, trained=kept)

    if config is None:
        return SampledVisit(problem=str(part), states=(state(0.0, n),))
    n_states = math.floor(lengths.states) + (_place(part) < lengths.states % 1)
    unguided = _place(part + PARTS // 2) < lengths.without_guidance
    carried = config.explore == "guided" and config.guidance_source == "carried"
    candidates = (state(0.0, config.n_candidates, trained=False),) if carried else ()
    if config.explore == "vanilla":
        halved = config.vanilla_match == "tokens"
        more = (n_states - 1) / 2 if halved else n_states - 1
        states = (state(0.0, n + n * round(0 if unguided else more)),)
    elif config.explore == "frontier":
        # A state of half of the problems has so many completions; where it lies is not known, so half-way.
        has_state = _place(part) < 2 * FRONTIER_STATES and not unguided
        further = [state(0.5, config.frontier_samples)] * (config.frontier_states if has_state else 0)
        states = (state(0.0, n), *further)
    elif unguided:
        states = () if carried else (state(0.0, n),)
    else:
        states = tuple(state(j / n_states, n) for j in range(n_states))
    return SampledVisit(problem=str(part), states=states, untrained=candidates)


def _place(part: int) -> float:
    """Of a part in [0, 1), so that consecutive ones are spread (the golden ratio's multiples)."""
    return (part * 0.6180339887498949) % 1


def _ids(n: int, fresh: Any) -> np.ndarray:
    """So many token ids that nothing else has."""
    return np.fromiter((next(fresh) for _ in range(n)), dtype=np.int64, count=n)
