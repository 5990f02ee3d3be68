"""Small finished runs for tests of figures and model cards: what they leave in their folders, without training."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from scripted_dumps import mixed, visit, write_dump

FLAGS = [
    "--experience_maker", "marge", "--actor.model_name_or_path", "Qwen/Qwen2-7B-Instruct", "--ckpt.output_dir",
    "trained", "--logger.wandb.key", "secret", "--data.prompt_dataset", "openai/gsm8k,train.jsonl", "--train.seed",
    "0", "--actor.adam.lr", "1e-6", "--vllm.enforce_eager", "--marge.split", "step", "--marge.max_states", "4",
    "--marge.dump_dir", "dump", "--marge.cot_prefix", "Think.\nStep 1:",
]  # fmt: skip


def rollout(*correct: int, guidance: bool | None = True):
    """The groups of a visit, so many of 4 completions correct in each of its three states; None: s_0 only."""
    groups = visit([mixed(n, 4 - n) for n in (*correct, 0, 0, 0)[:3]], correct=bool(guidance))
    if guidance is not None:
        return groups
    (s_0, *_) = groups
    return [dataclasses.replace(s_0, state=dataclasses.replace(s_0.state, guidance=None), n_states=1)]


def result(data: str, pass_1: float, pass_4: float) -> dict:
    """As cli/evaluate.py writes it."""
    return {
        "data": data, "problems": 100, "n": 4, "temperature": 0.8, "model": "base", "pass@1": pass_1,
        "pass@1_standard_error": 0.01, "pass@4": pass_4, "pass@4_standard_error": 0.02, "maj@4": pass_1,
    }  # fmt: skip


def rl_run(folder: Path, *rollouts, after: float = 0.5) -> Path:
    """A run of train_ppo_ray with a dump of the rollouts, evaluated before and after, its model in folder/trained."""
    write_dump(folder / "dump", *rollouts)
    (folder / "trained").mkdir()
    for name, results in {"before": result("gsm8k", 0.25, 0.5), "after": result("gsm8k", after, 0.75)}.items():
        (folder / f"{name}.json").write_text(json.dumps(results))
    flags = [str(folder / word) if word in ("trained", "dump") else word for word in FLAGS]
    summary = {"method": "marge", "training_flags": flags, "generated_tokens": 1000, "versions": {"torch": "2.0"}}
    (folder / "summary.json").write_text(json.dumps(summary))
    return folder


def log(folder: Path, **curves) -> Path:
    """A TensorBoard log below a run's folder: tag, with __ for /, -> a value for each step from 1 on, or by step."""
    writer = pytest.importorskip("torch.utils.tensorboard", reason="tensorboard is not installed").SummaryWriter(
        folder / "tensorboard"
    )
    for tag, values in curves.items():
        for step, value in values.items() if isinstance(values, dict) else enumerate(values, start=1):
            writer.add_scalar(tag.replace("__", "/"), value, step)
    writer.close()
    return folder


def loop(folder: Path, scores, rollouts) -> Path:
    """A DPO loop: held-out pass@1 before and after each iteration; the groups in each of an iteration's two files."""
    for number, score in enumerate(scores):
        of = folder / f"iteration_{number}"
        of.mkdir(parents=True)
        (of / "heldout.json").write_text(json.dumps(result("data/heldout.jsonl", score, min(1.0, 2 * score))))
        if number:
            write_dump(of / "explore", rollouts[number - 1], rollouts[number - 1])
            (of / "model").mkdir()
            explored = {"completions": 1000, "generated_tokens": 100}
            settings = {"--data.prompt_dataset": "train.jsonl", "--marge.split": "step", "--marge.max_states": None,
                        "--marge.n_candidates": 24}  # fmt: skip
            stages = {
                "pairs": ["python", "-m", "openrlhf_marge.cli.build_pairs", "x", "--kind", "marge", "--out", "p"],
                "train": ["python", "-m", "openrlhf.cli.train_dpo", "--model.beta", "0.4", "--ckpt.output_dir", "m"],
            }
            noted = {stage: {"seconds": 1.0, "command": command} for stage, command in stages.items()}
            for name, found in {"explore/summary": explored, "explore/settings": settings, "stages": noted}.items():
                (of / f"{name}.json").write_text(json.dumps(found))
    best = max(range(len(scores)), key=lambda number: scores[number])
    before = result("data/heldout.jsonl", scores[0], 1.0)
    (folder / "summary.json").write_text(json.dumps({"kind": "marge", "before": before, "best_iteration": best}))
    return folder
