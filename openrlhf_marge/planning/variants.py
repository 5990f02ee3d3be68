"""A pilot for other flags, and the launch of the stock baseline."""

from __future__ import annotations

import copy
from collections.abc import Collection
from dataclasses import replace
from typing import Any

from openrlhf_marge.planning.pilot import Pilot
from openrlhf_marge.planning.visits import SampledState, SampledVisit


def adapted(visit: SampledVisit, args: Any) -> SampledVisit:
    """A pilot's visit with the launch's numbers of completions and candidates, and without what it does not train on.

    Where states decide how many completions they get, they keep the pilot's.
    """
    config, n = args.marge, args.rollout.n_samples_per_prompt
    states, untrained = visit.states, visit.untrained
    if config.explore == "guided":
        if config.state_budget == "all":
            states = tuple(state.with_completions(n) for state in states)
        untrained = tuple(state.with_completions(config.n_candidates) for state in untrained)
    if config.skip_saturated:
        trains = [s.has_signal or (config.credits_prefix and s.has_credit) for s in states]
        states = tuple(s if t else replace(s, trained=()) for s, t in zip(states, trains, strict=True))
    return replace(visit, states=states, untrained=untrained)


def baseline_of(args: Any, given: Collection[str]) -> Any:
    """The launch with OpenRLHF's own GRPO: the flags that were given, without those of MARGE and what it sets."""
    stock = copy.deepcopy(args)
    if hasattr(stock, "marge"):
        del stock.marge
    stock.experience_maker = "default"
    stock.algo.advantage.estimator = "group_norm"
    stock.critic.model_name_or_path = None
    stock.vllm.enable_prefix_caching = "--vllm.enable_prefix_caching" in given
    return stock


def with_fresh_guidance(pilot: Pilot) -> Pilot:
    """The pilot with guidance from the visit itself: problems without any are sampled from s_0 alone."""
    first = tuple(
        replace(visit, untrained=(), states=visit.states or tuple(map(_trained, visit.untrained[:1])))
        for visit in pilot.first
    )
    return replace(pilot, first=first, later=())


def _trained(state: SampledState) -> SampledState:
    """The same state with its completions trained on."""
    return replace(state, trained=state.completions)
