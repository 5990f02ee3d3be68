r"""The prompts that the paper evaluates with (App. E), by name.

chat          the chat template around the problem alone, as OpenRLHF prompts in training
chat_boxed    the chat template around the problem and "Please reason step by step, ..." (Qwen2, Qwen2.5, Llama 3.1)
alpaca        the Alpaca format with the same sentence (MetaMath-Mistral)
auto          by model family: alpaca where a model has no chat template or is a MetaMath, else chat_boxed

A run with ``--data.input_template`` has a prompt of its own, which is evaluated with, too.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from string import Formatter

SENTENCE = r"Please reason step by step, and put your final answer within \boxed{}."
ALPACA = (
    "Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n"
    f"### Instruction:\n{{problem}}\n{SENTENCE.replace('{}', '{{}}')}\n\n### Response: Let's think step by step."
)
PROMPTS = ("chat", "chat_boxed", "alpaca", "auto")
EMPTY_COMMAND = re.compile(r"\\[A-Za-z]{2,}\{\}")  # \boxed{}, which str.format takes for the problem's place


def choose_prompt(name: str, model: str, has_chat_template: bool) -> str:
    """The prompt that ``name`` stands for with this model; ValueError when it needs a chat template and has none."""
    if name == "auto":
        return "chat_boxed" if has_chat_template and "metamath" not in model.lower() else "alpaca"
    if name != "alpaca" and not has_chat_template:
        raise ValueError(
            f"--prompt {name} needs a chat template and the tokenizer of --model {model} has none; add one, or take "
            "--prompt alpaca"
        )
    return name


def render_prompt(name: str, problem: str, apply_chat_template: Callable[[str], str]) -> str:
    """The text before the response; ``apply_chat_template`` makes a prompt of the user's message."""
    if name == "alpaca":
        return ALPACA.format(problem=problem)
    return apply_chat_template(f"{problem} {SENTENCE}" if name == "chat_boxed" else problem)


def check_input_template(flag: str, template: str) -> None:
    """ValueError naming the flag where ``template.format(problem)`` does not put the problem in exactly one place."""
    try:
        fields = [field for _, field, _, _ in Formatter().parse(template) if field is not None]
    except ValueError:  # braces that open or close nothing
        fields = []
    if fields != [""] or EMPTY_COMMAND.search(template):
        raise ValueError(
            f"{flag} {template!r} must hold {{}} once, where the problem goes; write every other brace twice, as in "
            r"\boxed{{}}"
        )
