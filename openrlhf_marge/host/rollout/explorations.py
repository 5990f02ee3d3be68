"""Runs problems through the Explorer on the host's engines, grader and tokenizer."""

from __future__ import annotations

import asyncio
import functools
import gc
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from openrlhf.utils.logging_utils import init_logger
from tqdm import tqdm

from openrlhf_marge.decoding import decode_pieces
from openrlhf_marge.host.rollout import tokens
from openrlhf_marge.host.rollout.sampler import EngineSampler
from openrlhf_marge.method.config import MargeConfig
from openrlhf_marge.method.explorer import Explorer
from openrlhf_marge.method.groups import Exploration
from openrlhf_marge.method.guidance import GuidancePool
from openrlhf_marge.method.metrics import EXPLORING_SECONDS
from openrlhf_marge.method.no_labels import without_labels
from openrlhf_marge.method.sampler import Sampler
from openrlhf_marge.types import Problem

logger = init_logger(__name__)

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


async def explore_problems(
    generator: Any, problems: Sequence[Problem], generate_kwargs: dict[str, Any]
) -> tuple[list[Exploration], dict[str, float]]:
    """All problems at once, none waiting for another; returns the explorations in their order, and counts to log."""
    start = time.monotonic()
    args, tokenizer = generator.args, generator.tokenizer
    sampler = EngineSampler(
        generator.vllm_engines,
        generator.reward_client,
        tokenizer,
        temperature=generate_kwargs["temperature"],
        top_p=generate_kwargs["top_p"],
        with_log_probs=True,
        seeded=args.train.full_determinism_enable,
        weight_version=generator.weight_version,
        stop=generator.config.stop,
    )
    explorer = make_explorer(args, generator.config, tokenizer, generator.pool, sampler)
    with tqdm(total=len(problems), desc="Explore problems") as progress, few_garbage_searches():

        async def explore(problem: Problem) -> Exploration:
            exploration = await explorer.explore(problem)
            progress.update()
            return exploration

        explorations = list(await asyncio.gather(*map(explore, problems)))
    if generator.rollouts == 1 and (sentence := without_labels(explorations, generator.config, tokenizer.decode)):
        logger.warning(sentence)
    counts = {f"marge/{name}": value for name, value in sampler.counts.items()}
    return explorations, counts | {EXPLORING_SECONDS: time.monotonic() - start}
