"""Plan -> the command of a run, and of its evaluation."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from openrlhf_marge.compare.file_parts import STAGES, Method
from openrlhf_marge.compare.kinds import LOOPED, TRAINED
from openrlhf_marge.compare.plan import Plan, PlannedRun
from openrlhf_marge.loop.commands import own_flag
from openrlhf_marge.runs.folder import flag_values
from openrlhf_marge.runs.progress import RunBudget

MODEL = "--actor.model_name_or_path"  # of a chained run the one that it starts from
# What compare sets itself, by the key of the file.
OWN_FLAGS: Mapping[str, frozenset[str]] = {
    "flags": frozenset(
        {
            *("--ckpt.output_dir", "--ckpt.path", "--ckpt.load_enable", "--train.seed", "--logger.logging_steps"),
            *("--logger.tensorboard_dir", "--logger.wandb.run_name", "--experience_maker"),
        }
    ),
    "explore": frozenset({"--train.seed", "--max_generated_tokens"}),
    "pairs": frozenset({"--seed"}),
    "train": frozenset({"--train.seed"}),
    "evaluate": frozenset({"--model", "--data", "--out"}),
}


def words_of(plan: Plan, key: str, text: str, seed: int) -> list[str]:
    """The words of a text of flags, each filled, so that a name with a blank stays one word.

    ValueError when compare sets one of them itself, or a quote does not end.
    """
    try:
        split = shlex.split(text)
    except ValueError as e:
        raise ValueError(f"{plan.file}: {key} cannot be split into words: {e}") from e
    words = [plan.fill(word, seed) for word in split]
    for word in words:
        if flag := own_flag(OWN_FLAGS.get(key, frozenset()), word):
            raise ValueError(f"{plan.file}: {key} holds {flag}, which compare sets itself; leave it out")
    return words


def launch_flags(plan: Plan, run: PlannedRun) -> list[str]:
    """Flags of train_ppo_ray. A method's own come last, its kind's after the shared ones."""
    shared, own = (words_of(plan, "flags", text, run.seed) for text in (plan.shared, run.method.flags))
    if run.method.starts_from and any(own_flag(frozenset({MODEL}), word) for word in own):
        place = f"{plan.file}, [methods.{run.method.name}]"
        raise ValueError(f"{place}: flags hold {MODEL}, which starts_from sets; leave one of them out")
    start = [MODEL, run.start.model] if run.start else []
    places = {
        "--ckpt.output_dir": "model", "--ckpt.path": "checkpoints", "--logger.tensorboard_dir": "tensorboard",
    }  # fmt: skip
    return [
        *(*shared, *TRAINED[run.method.kind], *own, *start, "--train.seed", str(run.seed)),
        *(word for flag, name in places.items() for word in (flag, str(run.folder / name))),
        *("--logger.wandb.run_name", f"{run.method.name}_{run.seed}", "--ckpt.load_enable"),
    ]


def left_of(plan: Plan, run: PlannedRun) -> RunBudget:
    """What a run has of its budget; of a chained one what those before it did not use."""
    budget = plan.budget_of(run.method)
    return replace(budget, amount=budget.amount - budget.used(run.before))


def launch_command(plan: Plan, run: PlannedRun) -> list[str]:
    """train_ppo_ray with a budget."""
    budget = left_of(plan, run)
    marks = ["--budget.marks", *(f"{share:.12g}" for share in plan.marks)] if plan.marks else []
    return [
        *(sys.executable, "-m", "openrlhf_marge.cli.budgeted", f"--budget.{budget.unit}", f"{budget.amount:.12g}"),
        *marks,
        *("--budget.progress", str(run.folder / "progress.jsonl"), *launch_flags(plan, run)),
    ]


def loop_flags(plan: Plan, run: PlannedRun) -> list[str]:
    """Flags of cli.marge_dpo. Every iteration has the same part of the budget, and none is left out."""
    loop, method, seed = plan.loop, run.method, run.seed
    assert loop is not None, "checked when the file was read"
    tokens = round(left_of(plan, run).amount / loop.iterations)
    model = run.start.model if run.start else plan.fill(loop.model, seed)
    fixed = {
        "explore": f"--train.seed {seed} --max_generated_tokens {tokens}", "pairs": f"--seed {seed}",
        "train": f"--train.seed {seed}", "evaluate": "",
    }  # fmt: skip
    flags = []
    for stage in (*STAGES, "evaluate"):
        texts = [getattr(loop, stage), getattr(method, stage, "")]
        words = [word for text in texts for word in words_of(plan, stage, text, seed)]
        flags += [f"--{stage}", shlex.join([*words, *fixed[stage].split()])]
    return [
        *("--kind", LOOPED[method.kind], "--model", model, "--patience", "0"),
        *("--heldout", plan.fill(loop.heldout, seed), "--out", str(run.folder)),
        *("--iterations", str(loop.iterations), *flags),
    ]


def run_command(plan: Plan, run: PlannedRun) -> list[str]:
    """What trains the run's model."""
    if run.method.is_looped:
        return [sys.executable, "-m", "openrlhf_marge.cli.marge_dpo", *loop_flags(plan, run)]
    return launch_command(plan, run)


def evaluate_flags(
    plan: Plan, seed: int, model: str, out: Path, mark: float | None = None, own: str = ""
) -> list[str]:
    """Flags of cli.evaluate, at the end or at a mark; a method's ``own`` come last."""
    data = [plan.fill(text, seed) for text in plan.evaluate.data]
    words = [word for text in (plan.evaluate.flags_at(mark), own) for word in words_of(plan, "evaluate", text, seed)]
    return ["--model", model, "--data", *data, "--out", str(out), *words]


def by_flags(plan: Plan, kind: Callable[[Mapping[str, str]], str]) -> dict[str, list[Method]]:
    """What ``kind`` says of a launch's flags -> the methods of which it says so; they are train_ppo_ray's."""
    found: dict[str, list[Method]] = {}
    for run in plan.runs:
        if run.method.kind in TRAINED and run.seed == plan.seeds[0]:
            found.setdefault(kind(flag_values(launch_flags(plan, run))), []).append(run.method)
    return found
