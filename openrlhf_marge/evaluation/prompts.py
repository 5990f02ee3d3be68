r"""The prompts that the paper evaluates with (App. E), by name.

chat          the chat template around the problem alone, as OpenRLHF prompts in training
chat_boxed    the chat template around the problem and "Please reason step by step, ..." (Qwen2, Qwen2.5, Llama 3.1)
alpaca        the Alpaca format with the same sentence (MetaMath-Mistral)
auto          by model family: alpaca where a model has no chat template or is a MetaMath, else chat_boxed
"""

from __future__ import annotations

from collections.abc import Callable

SENTENCE = r"Please reason step by step, and put your final answer within \boxed{}."
ALPACA = (
    "Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n"
    f"### Instruction:\n{{problem}}\n{SENTENCE.replace('{}', '{{}}')}\n\n### Response: Let's think step by step."
)
PROMPTS = ("chat", "chat_boxed", "alpaca", "auto")


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
