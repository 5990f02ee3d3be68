"""Tokenizers and configs of Hugging Face models, or a sentence that says why one cannot be had."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from openrlhf_marge.types import TokenIds

LONGEST = 300  # characters of a library's error within a sentence


def one_line(error: Exception) -> str:
    """The begin of its message in one line; the name of its class where it has none."""
    return " ".join(str(error).split())[:LONGEST] or type(error).__name__


def why_not(model: str, error: Exception) -> str:
    """Why ``model`` cannot be loaded; transformers takes a folder that is not there for a name on the hub."""
    reason = one_line(error)
    return reason if Path(model).is_dir() else f"there is no such folder, and as a name on the hub: {reason}"


def check_model(model: str, max_len: int) -> None:
    """ValueError when ``--model`` is no model, or has fewer positions than ``--max_len``."""
    from transformers import AutoConfig

    folder = Path(model)
    if folder.is_dir() and not (any(folder.glob("*.safetensors")) or any(folder.glob("*.bin"))):
        raise ValueError(f"--model {model}: the folder holds no weights (*.safetensors); give the folder of a model")
    try:
        config = AutoConfig.from_pretrained(model, trust_remote_code=False).get_text_config()
    except Exception as e:  # from missing files to failed downloads, transformers raises what it likes
        raise ValueError(
            f"--model {model} is neither the folder of a Hugging Face model nor the name of one that can be had: "
            f"{one_line(e)}"
        ) from e
    positions = getattr(config, "max_position_embeddings", max_len)
    stretched = (getattr(config, "rope_parameters", None) or {}).get("rope_type", "default") != "default"
    if max_len > positions and not stretched:
        raise ValueError(f"--max_len {max_len} is more than the {positions} positions of --model {model}; lower it")


def load_tokenizer(model: str) -> Any:
    """The tokenizer of ``--model``, a folder or a name on the hub; ValueError when transformers cannot load it.

    Code that a model brings is not run, and not asked about either.
    """
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(model, trust_remote_code=False)
    except Exception as e:  # from missing files to failed downloads, transformers raises what it likes
        raise ValueError(f"--model {model} has no tokenizer that transformers can load: {why_not(model, e)}") from e


@functools.cache  # read once: every rollout asks
def generation_eos_ids(model: str, trust_remote_code: bool = False) -> tuple[int, ...]:
    """``eos_token_id`` of the model's generation config: one, several or none.

    As in vLLM: without a generation config the model's own config counts; a folder of a tokenizer alone has neither.
    """
    from transformers import AutoConfig, GenerationConfig

    try:
        ids = GenerationConfig.from_pretrained(model).eos_token_id
    except OSError:
        try:
            config = AutoConfig.from_pretrained(model, trust_remote_code=trust_remote_code)
        except (OSError, ValueError):
            return ()
        ids = GenerationConfig.from_model_config(config).eos_token_id
    return (ids,) if isinstance(ids, int) else tuple(ids or ())


class TokenizerCodec:
    """What OpenRLHF's data sets make of a text, many texts at once; ``pairs.Codec``.

    ValueError when the model has no tokenizer, or that no EOS.

    ``other_eos`` are further ids at which vLLM ends a response of the model, with their texts.
    """

    def __init__(self, model: str) -> None:
        self.tokenizer = load_tokenizer(model)
        if self.tokenizer.eos_token_id is None:
            raise ValueError(f"--model {model}: its tokenizer has no EOS, which every response must end with")
        self.eos_id, self.eos_text = self.tokenizer.eos_token_id, self.tokenizer.eos_token
        self.other_eos = {i: self.decode([(i,)])[0] for i in generation_eos_ids(model) if i != self.eos_id}

    def decode(self, ids: Sequence[TokenIds]) -> list[str]:
        """Texts with all special tokens; ValueError when an id is none of this tokenizer."""
        options = dict(skip_special_tokens=False, clean_up_tokenization_spaces=False)
        try:
            return self.tokenizer.batch_decode([list(i) for i in ids], **options)
        except (IndexError, KeyError, OverflowError, TypeError) as e:
            raise ValueError(f"--model's tokenizer does not know all token ids of the dump: {e}") from e

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids without any special token that the text does not have."""
        if not texts:
            return []
        options = dict(add_special_tokens=False, return_attention_mask=False, return_token_type_ids=False)
        return self.tokenizer(list(texts), **options)["input_ids"]
