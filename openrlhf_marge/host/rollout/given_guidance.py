"""Guidance given with the data (``--marge.guidance_key``), found again by the problem's id."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from openrlhf_marge.host.rollout import tokens
from openrlhf_marge.host.rollout.data import read_rows
from openrlhf_marge.types import TokenIds


def given_guidance(args: Any, prompts: Any, tokenizer: Any) -> Mapping[str, TokenIds]:
    """Problem id -> token ids of the given response, s_0 included; empty without the flag.

    ``prompts`` is OpenRLHF's PromptDataset of the same rows. ValueError for a problem with two different responses.
    """
    config = args.marge
    if config.guidance_key is None:
        return {}
    data = read_rows(args, args.data.prompt_dataset, args.data.prompt_probs, args.data.prompt_split)
    s0, s0_ids = tokens.s0_text(config), tokens.s0_token_ids(tokenizer, config)
    found = {}
    for prompt, label, text in zip(prompts.prompts, prompts.labels, data[config.guidance_key], strict=False):
        if text:
            ids = s0_ids + tokens.encode_after(tokenizer, s0, text.removeprefix(s0))
            if found.setdefault(tokens.problem_id(prompt, str(label)), ids) != ids:
                raise ValueError(
                    f"--data.prompt_dataset {args.data.prompt_dataset}: the problem {prompt[-60:]!r} has two "
                    f"different responses in {config.guidance_key!r} (--marge.guidance_key); leave one row out"
                )
    return found
