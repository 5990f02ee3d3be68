"""Problems -> the token ids that the engine is given: prompt (App. E) and response prefix."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from openrlhf_marge.cli.errors import one_line
from openrlhf_marge.evaluation import choose_prompt, render_prompt
from openrlhf_marge.models import load_tokenizer


@dataclass(frozen=True, slots=True)
class Prompt:
    """The text that the model reads before its response, and its ids with those of the response prefix."""

    text: str
    ids: list[int]


class Prompter:
    """``name`` is the prompt in use, "auto" resolved. ValueError when the model cannot be prompted so."""

    def __init__(self, model: str, name: str, response_prefix: str) -> None:
        self._tokenizer = load_tokenizer(model)
        self.name = choose_prompt(name, model, bool(self._tokenizer.chat_template))
        # By itself, as s_0 is encoded in training: joined to the prompt it could become other tokens.
        self._prefix_ids = self._encode(response_prefix, add_special_tokens=False) if response_prefix else []

    def prompt(self, problem: str) -> Prompt:
        text = render_prompt(self.name, problem, self._apply_chat_template)
        # A chat template writes its special tokens itself.
        return Prompt(text, self._encode(text, add_special_tokens=self.name == "alpaca") + self._prefix_ids)

    def _apply_chat_template(self, message: str) -> str:
        messages = [{"role": "user", "content": message}]
        return self._tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)

    def _encode(self, text: str, add_special_tokens: bool) -> list[int]:
        return self._tokenizer(text=text, add_special_tokens=add_special_tokens)["input_ids"]


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
