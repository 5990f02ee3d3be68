"""Runs problems through the Explorer on the host's engines, grader and tokenizer."""

from __future__ import annotations

import asyncio
import functools
import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import starmap
from typing import Any

from tqdm import tqdm

from openrlhf_marge.decoding import decode_pieces
from openrlhf_marge.host.rollout import tokens
from openrlhf_marge.host.rollout.reward_client import RewardClient
from openrlhf_marge.host.rollout.sampler import EngineSampler
from openrlhf_marge.host.rollout.weight_version import WeightVersion
from openrlhf_marge.method.config import MargeConfig
from openrlhf_marge.method.explorer import Explorer
from openrlhf_marge.method.groups import Exploration
from openrlhf_marge.method.guidance import GuidancePool
from openrlhf_marge.method.sampler import Sampler
from openrlhf_marge.types import Problem

ALLOCATIONS = 20_000  # between two searches of Python's for garbage; 700 by default


@contextmanager
def few_garbage_searches() -> Iterator[None]:
    """Within it Python seldom looks for cycles of garbage, and never among what was there before.

    Nearly all that a rollout makes stays until its end, so these searches find little: they were two fifths of the
    time of the thread that schedules.
    """
    before = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(ALLOCATIONS, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


@contextmanager
def no_garbage_searches() -> Iterator[None]:
    """Within it Python looks for no cycles of garbage, nor among what was made in it right after.

    For unpacking, which makes no cycles: searches were a third of its time.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.unfreeze()  # what is new counts as old from here on
        if was_enabled:
            gc.enable()


def make_explorer(args: Any, config: MargeConfig, tokenizer: Any, pool: GuidancePool, sampler: Sampler) -> Explorer:
    """The explorer of a run's flags."""
    return Explorer(
        config=config,
        pool=pool,
        seed=args.train.seed,
        s0_ids=tokens.s0_token_ids(tokenizer, config),
        eos_ids=tokens.eos_token_ids(tokenizer, args.actor.model_name_or_path),
        n_completions=args.rollout.n_samples_per_prompt,
        sampler=sampler,
        decode_pieces=functools.partial(decode_pieces, tokenizer),
        question=tokens.question(tokenizer, config),
    )


@dataclass(frozen=True, kw_only=True)
class Workplace:
    """What a process explores with, rollout after rollout."""

    args: Any
    tokenizer: Any
    engines: Sequence[Any]
    rewards: RewardClient
    first_engine: int = 0  # its number among those of the run
    title: str = "Explore problems"  # of the progress bar

    def sampler(self, weight_version: WeightVersion, generate_kwargs: dict[str, Any]) -> EngineSampler:
        """For one rollout; ``generate_kwargs`` are the host's."""
        return EngineSampler(
            self.engines, self.rewards, self.tokenizer, temperature=generate_kwargs["temperature"],
            top_p=generate_kwargs["top_p"], with_log_probs=True, seeded=self.args.train.full_determinism_enable,
            weight_version=weight_version, stop=self.args.marge.stop, first_engine=self.first_engine,
        )  # fmt: skip


async def explore_problems(
    place: Workplace, problems: Sequence[Problem], pool: GuidancePool, weight_version: WeightVersion,
    generate_kwargs: dict[str, Any], ended: Callable[[int, Exploration], None] | None = None,
) -> tuple[list[Exploration], dict[str, float]]:  # fmt: skip
    """All problems at once, none waiting for another; returns the explorations in their order, and counts to add up.

    ``ended`` gets each as it ends, with the place of its problem.

    The trainer's process runs it, and with ``--marge.explorers`` processes with a part of the problems each. Seeds and
    choices depend on run, problem, visit and prefix alone, so what is found for a problem is the same in any of them.
    """
    sampler = place.sampler(weight_version, generate_kwargs)
    explorer = make_explorer(place.args, place.args.marge, place.tokenizer, pool, sampler)
    with tqdm(total=len(problems), desc=place.title) as progress, few_garbage_searches():

        async def explore(place: int, problem: Problem) -> Exploration:
            exploration = await explorer.explore(problem)
            progress.update()
            if ended is not None:
                ended(place, exploration)
            return exploration

        explorations = list(await asyncio.gather(*starmap(explore, enumerate(problems))))
    return explorations, {f"marge/{name}": value for name, value in sampler.counts.items()}
