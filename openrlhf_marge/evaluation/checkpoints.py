"""The published models of Tables 1 and 2, by the names that the paper has for them, each with its owners' prompt."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """``path`` is its name on the Hugging Face hub, ``prompt`` the --prompt that its owners evaluate it with."""

    path: str
    prompt: str


OWN = "own"  # --prompt of whatever a checkpoint has
# The paper evaluates them as its own models (footnote 1), which is --prompt auto.
CHECKPOINTS: Mapping[str, Checkpoint] = {
    # Footnote 2 of the paper; eval_math.py of the Step-DPO repository (arXiv 2406.18629).
    "StepDPO-HF": Checkpoint("xinlai/Qwen2-7B-Instruct-Step-DPO", "qwen2_boxed"),
    # The problem alone as the user's message, as its model card shows (arXiv 2412.15084).
    "ACEMath-7B": Checkpoint("nvidia/AceMath-7B-Instruct", "chat"),
    # math_eval.py and eval/system_prompt.md of the PRIME repository (arXiv 2502.01456).
    "PRIME-EURUS-7B": Checkpoint("PRIME-RL/Eurus-2-7B-PRIME", "eurus"),
    # The authors' MARGE-RL of Table 2; qwen25-math-cot of Qwen2.5-Math's evaluation (arXiv 2409.12122).
    "Qwen2.5-Math-7B-MARGE": Checkpoint("gao-jingyue/Qwen2.5-Math-7B-MARGE", "qwen25_math"),
}


def find_checkpoint(model: str) -> Checkpoint | None:
    """The checkpoint that ``--model`` names, also as NAME=FOLDER, a local copy; None for any other model."""
    return CHECKPOINTS.get(model.partition("=")[0])


def located(model: str) -> str:
    """Where ``--model`` is: a folder, or a name on the hub. A folder that has a checkpoint's name comes first."""
    checkpoint = find_checkpoint(model)
    if checkpoint is None or Path(model).is_dir():
        return model
    return model.partition("=")[2] or checkpoint.path


def own_prompt(model: str) -> str:
    """The prompt that ``--prompt own`` stands for; ValueError for a model that is no checkpoint with a name."""
    checkpoint = find_checkpoint(model)
    if checkpoint is None:
        raise ValueError(
            f"--prompt {OWN} is the prompt of a published checkpoint, and --model {model} is none of "
            f"{', '.join(CHECKPOINTS)}; name a prompt"
        )
    return checkpoint.prompt
