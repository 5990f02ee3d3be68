r"""The prompts that the paper evaluates with (App. E), and those that published models were trained with, by name.

chat          the chat template around the problem alone, as OpenRLHF prompts in training
chat_boxed    the chat template around the problem and "Please reason step by step, ..." (Qwen2, Qwen2.5, Llama 3.1)
alpaca        the Alpaca format with the same sentence (MetaMath-Mistral)
auto          by model family: alpaca where a model has no chat template or is a MetaMath, else chat_boxed
qwen25_math   the sentence as the system's, the problem as the user's (Qwen2.5-Math, the authors' own model)
qwen2_boxed   with Qwen2's default system prompt, the sentence after the problem on a line of its own (Step-DPO)
eurus         PRIME-EURUS: the system prompt of its repository, which --system_prompt must name, and its closing line

``--prompt own`` stands for the one of them that belongs to a checkpoint (``checkpoints.py``).

A run with ``--data.input_template`` has a prompt of its own, which is evaluated with, too.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from string import Formatter

SENTENCE = r"Please reason step by step, and put your final answer within \boxed{}."
ALPACA = (
    "Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n"
    f"### Instruction:\n{{problem}}\n{SENTENCE.replace('{}', '{{}}')}\n\n### Response: Let's think step by step."
)
# Prompt -> what the system says, None for the template's own default, and what follows the problem.
MESSAGES: Mapping[str, tuple[str | None, str]] = {
    "chat": (None, ""),
    "chat_boxed": (None, f" {SENTENCE}"),
    "qwen25_math": (SENTENCE, ""),
    "qwen2_boxed": ("You are a helpful assistant.", f"\n{SENTENCE}"),
    "eurus": (None, "\n\nPresent the answer in LaTex format: \\boxed{Your answer}"),
}
PROMPTS = ("chat", "chat_boxed", "alpaca", "auto", "qwen25_math", "qwen2_boxed", "eurus")
EMPTY_COMMAND = re.compile(r"\\[A-Za-z]{2,}\{\}")  # \boxed{}, which str.format takes for the problem's place


def choose_prompt(name: str, model: str, has_chat_template: bool, system: str | None = None) -> str:
    """The prompt that ``name`` stands for with this model; ValueError when what it needs is not there.

    ``system`` is the text of --system_prompt.
    """
    if name == "eurus" and system is None:
        raise ValueError(
            "--prompt eurus needs --system_prompt FILE, the one that the model was trained with: "
            "eval/system_prompt.md of PRIME-RL/PRIME on GitHub"
        )
    if system is not None and (name == "alpaca" or not has_chat_template):
        raise ValueError("--system_prompt needs a chat template, which --prompt alpaca and some models have not")
    if name == "auto":
        # The model's own name: a folder above it may be called after the data.
        return "chat_boxed" if has_chat_template and "metamath" not in Path(model).name.lower() else "alpaca"
    if name != "alpaca" and not has_chat_template:
        raise ValueError(
            f"--prompt {name} needs a chat template and the tokenizer of --model {model} has none; add one, or take "
            "--prompt alpaca"
        )
    return name


def render_prompt(
    name: str, problem: str, apply_chat_template: Callable[[str, str | None], str], system: str | None = None
) -> str:
    """The text before the response; ``apply_chat_template`` makes a prompt of the user's message and the system's.

    ``system`` takes the place of the system prompt that the name stands for.
    """
    if name == "alpaca":
        return ALPACA.format(problem=problem)
    of_name, after = MESSAGES[name]
    return apply_chat_template(problem + after, of_name if system is None else system)


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
