"""Uses the tokenizer and its model's folder: makes problems from prompts, gives s_0, finds where a response ended."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any

from openrlhf.utils import get_tokenizer
from transformers import PreTrainedTokenizerFast, ProcessorMixin

from openrlhf_marge.method.config import MargeConfig
from openrlhf_marge.method.self_evaluation import Question, make_question
from openrlhf_marge.models import generation_eos_ids, why_not
from openrlhf_marge.types import Problem, TokenIds


def load_tokenizer(args: Any) -> Any:
    """As OpenRLHF's trainer has it; ValueError when the model has none."""
    model = args.actor.model_name_or_path
    try:
        return get_tokenizer(model, None, "left", None, use_fast=not args.data.disable_fast_tokenizer)
    except Exception as e:  # from missing files to failed downloads, transformers raises what it likes
        reason = why_not(model, e)
        raise ValueError(f"--actor.model_name_or_path {model} has no tokenizer that can be loaded: {reason}") from e


def encode(tokenizer: Any, text: str) -> TokenIds:
    """Token ids of a text that already has its special tokens, as OpenRLHF encodes prompts.

    Where a model has a ``vision_config``, OpenRLHF's tokenizer is a processor, which gives a text as a batch of one.
    """
    if isinstance(tokenizer, ProcessorMixin):
        tokenizer = tokenizer.tokenizer
    return tuple(tokenizer(text=text, add_special_tokens=False)["input_ids"])


def decode_all(tokenizer: Any, rows: Sequence[list[int]]) -> list[str]:
    """The text of each row of ids, special tokens included, as ``tokenizer.decode`` gives it.

    A tokenizer of the tokenizers library decodes all rows at once, on all cores and without Python's lock: in a
    process that samples from many engines nothing takes longer.
    """
    if getattr(type(tokenizer), "_decode", None) is PreTrainedTokenizerFast._decode and (
        not tokenizer.clean_up_tokenization_spaces
    ):
        return tokenizer.backend_tokenizer.decode_batch(rows, skip_special_tokens=False)
    return [tokenizer.decode(row, skip_special_tokens=False) for row in rows]


def missing_bos(tokenizer: Any, prompt: str) -> str | None:
    """The BOS that the tokenizer puts before texts and ``prompt`` does not begin with; None where none is missing."""
    if isinstance(tokenizer, ProcessorMixin):
        tokenizer = tokenizer.tokenizer
    bos = tokenizer.bos_token_id
    added = bos is not None and tokenizer(text="1")["input_ids"][:1] == [bos]
    return tokenizer.bos_token if added and encode(tokenizer, prompt)[:1] != (bos,) else None


def needs_blank_after_bos(tokenizer: Any, prompt: str) -> bool:
    """Whether ``prompt`` writes its BOS, and only a blank after it gives the tokens of a text that begins there.

    Words of sentencepiece's vocabularies have the space before them. Llama's tokenizer class puts it at the begin of a
    text alone, so not after a BOS; with ``legacy``, which transformers 5 forgets when it saves a tokenizer, there too.
    """
    if isinstance(tokenizer, ProcessorMixin):
        tokenizer = tokenizer.tokenizer
    bos, text = tokenizer.bos_token_id, prompt.removeprefix(tokenizer.bos_token or "")
    if bos is None or text == prompt:
        return False
    return (bos, *encode(tokenizer, text)) == encode(tokenizer, f"{tokenizer.bos_token} {text}")


def encode_after(tokenizer: Any, before: str, text: str) -> TokenIds:
    """Token ids of a text that goes on after ``before``, which has ids of its own.

    Alone sentencepiece's tokenizers would put a space before it. So both are encoded, unless a token reaches over the
    place where they meet; then some other text comes before it.
    """
    for start in (before, "\n", "."):
        ids, whole = encode(tokenizer, start), encode(tokenizer, start + text)
        if whole[: len(ids)] == ids:
            return whole[len(ids) :]
    return encode(tokenizer, text)


def problem_id(prompt: str, label: str) -> str:
    """A digest of both: stable over episodes, restarts and orders of the data."""
    return hashlib.blake2b(f"{prompt}\x00{label}".encode(), digest_size=8).hexdigest()


def make_problem(
    tokenizer: Any, prompt: str, label: str, max_len: int, max_new_tokens: int | None,
    given: Mapping[str, TokenIds] = MappingProxyType({}),
) -> Problem:  # fmt: skip
    """The problem of a prompt; the room for a response is OpenRLHF's: up to ``max_len`` and ``max_new_tokens``."""
    prompt_ids = encode(tokenizer, prompt)
    room = max_len - len(prompt_ids)
    identity = problem_id(prompt, label)
    return Problem(
        id=identity,
        prompt=prompt,
        label=label,
        prompt_ids=prompt_ids,
        max_response_tokens=room if max_new_tokens is None else min(room, max_new_tokens),
        given_guidance=given.get(identity),
    )


def s0_text(config: MargeConfig) -> str:
    """What every response starts with: the CoT prefix in step mode, nothing in tokens mode."""
    return config.cot_prefix if config.split == "step" else ""


def s0_token_ids(tokenizer: Any, config: MargeConfig) -> TokenIds:
    """Ids of s_0; ValueError when the tokenizer does not give its text back."""
    text = s0_text(config)
    if not text:
        return ()
    ids = encode(tokenizer, text)
    back = tokenizer.decode(list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False)
    if back != text:
        raise ValueError(
            f"--marge.cot_prefix {text!r} is {back!r} after it was encoded and decoded by the model's tokenizer, so "
            "responses would start with another text; set the flag to a text that the tokenizer keeps, or load the "
            "model with a tokenizer that does"
        )
    return ids


def question(tokenizer: Any, config: MargeConfig) -> Question | None:
    """What the model is asked of its solutions, where the exploration has it judge them."""
    return make_question(partial(encode, tokenizer)) if config.asks_the_model else None


def eos_token_ids(tokenizer: Any, model: str) -> frozenset[int]:
    """Ids at which vLLM ends a response: the tokenizer's EOS and those of the generation config of ``model``."""
    # OpenRLHF trusts a model's code everywhere.
    return frozenset({tokenizer.eos_token_id, *generation_eos_ids(model, trust_remote_code=True)} - {None})
