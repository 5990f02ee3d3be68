"""Problems -> the token ids that the engine is given: prompt (App. E) and response prefix."""

from __future__ import annotations

from dataclasses import dataclass

from jinja2 import TemplateError

from openrlhf_marge.evaluation import choose_prompt, render_prompt
from openrlhf_marge.models import load_tokenizer


@dataclass(frozen=True, slots=True)
class Prompt:
    """The text that the model reads before its response, and its ids with those of the response prefix."""

    text: str
    ids: list[int]


class Prompter:
    """``name`` is the prompt in use, "auto" resolved. ValueError when the model cannot be prompted so.

    An ``input_template`` takes its place, as the run has it that OpenRLHF trains with.
    """

    def __init__(
        self, model: str, name: str, response_prefix: str, input_template: str | None = None, system: str | None = None
    ) -> None:
        self._tokenizer, self._template, self._system = load_tokenizer(model), input_template, system
        has_chat_template = bool(self._tokenizer.chat_template)
        self.name = "input_template" if input_template else choose_prompt(name, model, has_chat_template, system)
        # By itself, as s_0 is encoded in training: joined to the prompt it could become other tokens.
        self._prefix_ids = self._encode(response_prefix, add_special_tokens=False) if response_prefix else []

    def prompt(self, problem: str) -> Prompt:
        if self._template:
            text = self._template.format(problem)
        else:
            text = render_prompt(self.name, problem, self._apply_chat_template, self._system)
        # A chat template writes its special tokens itself, and OpenRLHF adds none to an input template.
        return Prompt(text, self._encode(text, add_special_tokens=self.name == "alpaca") + self._prefix_ids)

    def _apply_chat_template(self, message: str, system: str | None) -> str:
        messages = [] if system is None else [{"role": "system", "content": system}]
        messages.append({"role": "user", "content": message})
        try:
            return self._tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        except TemplateError as e:  # some templates know no system
            raise ValueError(f"--prompt {self.name}: the model's chat template refuses it: {e}") from e

    def _encode(self, text: str, add_special_tokens: bool) -> list[int]:
        return self._tokenizer(text=text, add_special_tokens=add_special_tokens)["input_ids"]
