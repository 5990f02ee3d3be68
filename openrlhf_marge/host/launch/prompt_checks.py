"""The prompts that the flags make of the data: refused or shown before any engine starts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from openrlhf.datasets import PromptDataset

from openrlhf_marge.evaluation import check_input_template
from openrlhf_marge.host.rollout import tokens
from openrlhf_marge.host.rollout.data import quiet_strategy
from openrlhf_marge.method.config import MargeConfig
from openrlhf_marge.types import Problem

BLANK = "prompts have no blank after their {!r}, without which the tokenizer takes them for the middle of a text"
SHOWN_CHARS = 200  # of the end of a prompt


def check_template(data: Any) -> None:
    """ValueError where ``--data.input_template`` cannot be used; ``data`` are the flags of this name."""
    if not data.input_template:
        return
    if data.apply_chat_template:
        raise ValueError(
            "--data.input_template does not work with --data.apply_chat_template, with which OpenRLHF does not use "
            "it; leave one out"
        )
    check_input_template("--data.input_template", data.input_template)


def read_prompts(args: Any, rows: Any, tokenizer: Any) -> Any:
    """OpenRLHF's PromptDataset of the rows; ValueError when a chat template is asked for and there is none."""
    if args.data.apply_chat_template and not tokenizer.chat_template:
        raise ValueError(
            f"--actor.model_name_or_path {args.actor.model_name_or_path} has no chat template; leave "
            "--data.apply_chat_template out"
        )
    return PromptDataset(rows, tokenizer, quiet_strategy(args), input_template=args.data.input_template)


def show_prompt(tokenizer: Any, config: MargeConfig, prompt: str, *, chat: bool) -> None:
    """Print what the model continues, and where its begin is not what the tokenizer makes of other texts.

    OpenRLHF encodes prompts without special tokens, since chat templates write theirs; ``chat`` says that one does.
    """
    shown = prompt if len(prompt) <= SHOWN_CHARS else "..." + prompt[-SHOWN_CHARS:]
    print(f"[marge] the first prompt and the begin of its responses: {shown + tokens.s0_text(config)!r}")
    if bos := tokens.missing_bos(tokenizer, prompt):
        print(
            f"[marge] prompts do not begin with {bos!r}, which the model's tokenizer puts before a text and OpenRLHF "
            "does not; write it at the begin of --data.input_template, or of the prompts in the data"
        )
    if not chat and tokens.needs_blank_after_bos(tokenizer, prompt):
        begin = f"{tokenizer.bos_token} {prompt.removeprefix(tokenizer.bos_token)[:10]}..."
        print(f"[marge] {BLANK.format(tokenizer.bos_token)}, now or once it was saved; write one, as in {begin!r}")


def check_question(problems: Sequence[Problem], length: int) -> None:
    """ValueError when no problem has room for a question of so many tokens after a solution."""
    if all(p.max_response_tokens <= length for p in problems):
        raise ValueError(
            f"--marge.mcts_value self_evaluation asks in {length} tokens, for which no problem leaves room after a "
            "solution; raise --data.max_len and --rollout.max_new_tokens"
        )


def check_room(problems: Sequence[Problem], s0_length: int) -> None:
    """ValueError when no problem has room for a response."""
    if problems and all(p.max_response_tokens <= s0_length for p in problems):
        shortest = min(len(p.prompt_ids) for p in problems)
        raise ValueError(
            f"none of the {len(problems)} problems leaves room for a response: --data.max_len must be more than the "
            f"{shortest} tokens of the shortest prompt and the {s0_length} of --marge.cot_prefix, and "
            f"--rollout.max_new_tokens more than the latter"
        )
