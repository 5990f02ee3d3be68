"""Exploration of a data set without training: OpenRLHF's prompts, engines and reward client (``cli/explore.py``)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from openrlhf.utils.config import hierarchize

from openrlhf_marge.exploration import ExplorationFolder, JournaledSampler, Totals, explore_all, read_pool
from openrlhf_marge.host.launch.checks import check_reward_file
from openrlhf_marge.host.launch.dataset_checks import check_dataset, check_guidance
from openrlhf_marge.host.launch.fixed_flags import complete_for_cpu, complete_reward
from openrlhf_marge.host.launch.prompt_checks import (
    check_question,
    check_room,
    check_template,
    read_prompts,
    show_prompt,
)
from openrlhf_marge.host.rollout import tokens
from openrlhf_marge.host.rollout.explorations import make_explorer
from openrlhf_marge.host.rollout.given_guidance import given_guidance
from openrlhf_marge.host.rollout.reward_client import RewardClient
from openrlhf_marge.host.rollout.sampler import EngineSampler
from openrlhf_marge.host.standalone.engines import offline_engines, ray_cluster
from openrlhf_marge.method.config import MargeConfig
from openrlhf_marge.method.groups import Exploration
from openrlhf_marge.method.no_guidance import WithoutGuidance
from openrlhf_marge.method.no_labels import WithoutLabels
from openrlhf_marge.types import Problem

__all__ = ["explore_data", "hierarchize"]


# After temperature and top_p, as training has them; of an answer to a question the model's own, as top_p would make a
# likely one sure.
LOG_PROBS = {False: "processed_logprobs", True: "raw_logprobs"}


def explore_data(args: Any, begin: Callable[[], None]) -> Totals:
    """Explore what ``args.out`` does not hold yet; ValueError for input that cannot work, and then not ``begin``.

    ``args.marge`` is a ``MargeConfig``.
    """
    config = args.marge
    complete_for_cpu(args)
    complete_reward(args, config, args.out)
    tokenizer = tokens.load_tokenizer(args)
    problems = read_problems(args, config, tokenizer)
    check_reward_file(args.reward.remote_url, problems[0].label)
    ids = [p.id for p in problems]
    folder = ExplorationFolder(args.out, ids, args.problems_per_file, config.advantage, config.stop)
    if args.guidance_from and not folder.totals.problems:
        folder.start_from(read_pool(args.guidance_from))
    begin()
    if not all(folder.is_done(p.id) for p in problems):
        with ray_cluster(), offline_engines(args, LOG_PROBS[config.asks_the_model]) as engines:
            asyncio.run(explore_on(engines, args, config, tokenizer, problems, folder))
    folder.finish()
    return folder.totals


def read_problems(args: Any, config: MargeConfig, tokenizer: Any) -> list[Problem]:
    """The problems of the data in their order, equal ones once."""
    data = args.data
    check_template(data)
    rows = check_dataset(args, "--data.prompt_dataset", data.prompt_dataset, data.prompt_probs, data.prompt_split)
    if config.guidance_key:
        check_guidance(f"--data.prompt_dataset {data.prompt_dataset}", rows, config)
    prompts = read_prompts(args, rows.select(range(min(data.max_samples, len(rows)))), tokenizer)
    given = given_guidance(args, prompts, tokenizer)
    problems = [
        tokens.make_problem(tokenizer, prompt, str(label), data.max_len, args.rollout.max_new_tokens, given)
        for prompt, label in zip(prompts.prompts, prompts.labels, strict=True)
    ]
    different = list({p.id: p for p in problems}.values())
    if len(different) < len(problems):
        print(f"explore: {len(problems) - len(different)} problems occur more than once in the data; once is enough")
    check_room(different, len(tokens.s0_token_ids(tokenizer, config)))
    if question := tokens.question(tokenizer, config):
        check_question(different, len(question.ids))
    for problem in different[:1]:
        show_prompt(tokenizer, config, problem.prompt, chat=data.apply_chat_template)
    return different


async def explore_on(
    engines: Sequence[Any], args: Any, config: MargeConfig, tokenizer: Any, problems: Sequence[Problem],
    folder: ExplorationFolder,
) -> None:  # fmt: skip
    """Explore into the folder on these engines."""
    sampler = EngineSampler(
        engines,
        RewardClient(args.reward.remote_url.split(",")),
        tokenizer,
        temperature=args.rollout.temperature,
        top_p=args.rollout.top_p,
        with_log_probs=config.needs_log_probs,  # nothing is trained on here
        seeded=args.train.full_determinism_enable,
        weight_version=_untrained,
        stop=config.stop,
    )
    explorer = make_explorer(args, config, tokenizer, folder.pool, JournaledSampler(sampler, folder.journal))
    in_flight = args.problems_in_flight * len(engines)
    unguided, unlabelled = WithoutGuidance(config.stop), WithoutLabels(config)

    def add(exploration: Exploration) -> None:
        unguided.add(exploration)
        unlabelled.add(exploration)

    await explore_all(explorer, folder, problems, in_flight, args.max_generated_tokens, add)
    if sentence := unguided.sentence(tokenizer.decode):
        print(f"explore: {sentence} All candidates are in {args.out}/candidates-*.parquet.")
    if sentence := unlabelled.sentence(tokenizer.decode):
        print(f"explore: {sentence}")


async def _untrained() -> int:
    """The weight version of all completions here."""
    return 0
