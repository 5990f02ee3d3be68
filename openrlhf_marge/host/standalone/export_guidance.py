"""The guidance of a checkpoint, found again by the prompts that OpenRLHF makes of the data."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from openrlhf.datasets.prompts_dataset import preprocess_data

from openrlhf_marge.data.rows import read_rows
from openrlhf_marge.host.rollout.records import RolloutRecord
from openrlhf_marge.host.rollout.tokens import problem_id
from openrlhf_marge.method.config import MargeConfig
from openrlhf_marge.method.guidance import GuidancePool
from openrlhf_marge.method.guidance_rules import GUIDANCE_RULES
from openrlhf_marge.models import load_tokenizer
from openrlhf_marge.runs.checkpoints import CheckpointStore
from openrlhf_marge.types import Guidance

PAPER = MargeConfig()


def load_pool(ckpt_path: Path) -> GuidancePool:
    """The guidance of the last complete checkpoint; ValueError when there is none."""
    store = CheckpointStore(ckpt_path / "_marge")
    steps = store.complete().values()
    if not steps:
        raise ValueError(
            f"--ckpt_path {ckpt_path} holds no complete checkpoint of a MARGE run; train with --ckpt.save_steps"
        )
    pool = GuidancePool()
    pool.update(store.read_state(max(steps), RolloutRecord).pool)
    return pool


def guidance_rows(args: Any) -> Iterator[dict[str, str]]:
    """One row per problem with guidance, in order of the data. ``args`` as the command has them."""
    pool, tokenizer = load_pool(args.ckpt_path), load_tokenizer(args.model)
    # OpenRLHF has no use for a template where there is a chat template, and a run with both is refused.
    template = None if args.no_chat_template or args.input_template else tokenizer.apply_chat_template
    for row in read_rows(args.data):
        query = row.text(args.input_key, "--input_key")
        row.text(args.label_key, "--label_key")
        prompt, label = preprocess_data(row.values, args.input_template, args.input_key, args.label_key, template)
        if (guidance := guidance_of(pool, problem_id(prompt, str(label)))) is not None:
            text = tokenizer.decode(guidance.token_ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)
            yield {"query": query, "guidance hit": text, "gt": label}


def guidance_of(pool: GuidancePool, problem: str) -> Guidance | None:
    """Of several the first that Sec. 3.3 prefers: a second row would be a second problem where they are read."""
    guidances, rate = pool.get(problem), pool.pass_rate(problem)
    wanted = GUIDANCE_RULES.load(PAPER.guidance_rule).wanted(rate or 0.0, PAPER.guidance_threshold)
    return next((g for g in guidances if g.is_correct in wanted), next(iter(guidances), None))
