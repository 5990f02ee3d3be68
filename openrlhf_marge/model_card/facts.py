"""Facts about a trained model, read from its run's folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from openrlhf_marge.data.files import read_object
from openrlhf_marge.data.redaction import redacted, redacted_words
from openrlhf_marge.evaluation.results import Results, read_results
from openrlhf_marge.method.config import MargeConfig
from openrlhf_marge.model_card.markup import code
from openrlhf_marge.runs.folder import flag_values, iteration_folders, place_of, read_evaluations
from openrlhf_marge.runs.summary import SUMMARY, LoopSummary, RlSummary, read_summary

DEFAULTS = {f"--marge.{f.name}": f.default for f in fields(MargeConfig)}
# Flags that say where a run wrote and logged, W&B's key among them, are no settings.
PLACES = ("--ckpt.", "--logger.", "--marge.dump_dir", "--out")
LOOP_STAGES = {"pairs": "Pairs", "train": "Training"}
FlagValues = dict[str, str]  # flag -> value, "" of a switch


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """A trained model; ``settings`` by title, in order."""

    name: str
    folder: Path
    base_model: str
    method: str  # a tag
    how: str  # the same in words
    datasets: Sequence[str]
    settings: Mapping[str, FlagValues]
    before: Results
    after: Results
    generated_tokens: int | float | None
    versions: Mapping[str, str]


def read_trained(run: Path, model: Path | None) -> Trained:
    """The model in ``model``, or the one that the run ended with (a DPO loop: its best).

    ValueError naming what the run's folder lacks.
    """
    if not (run / SUMMARY).exists():
        raise ValueError(f"{run} has no summary.json; --help says what to write there for a run of your own script")
    results = read_evaluations(run)
    if not results and (run / "after.json").is_file():
        results = [{}, read_results(run / "after.json")]
    if len(results) < 2:
        raise ValueError(
            f"{run} has no {run / 'after.json'}; write it, and before.json, with "
            "python -m openrlhf_marge.cli.evaluate --out"
        )
    try:
        if iteration_folders(run):
            return _of_loop(run, model, read_summary(run, LoopSummary), results)
        return _of_rl(run, model, read_summary(run, RlSummary), results)
    except KeyError as e:
        raise ValueError(f"the files of {run} lack the key {e}; give the folder of a finished run") from e
    except (AttributeError, TypeError) as e:
        raise ValueError(f"the files of {run} are not as a run writes them ({e}); give the folder of one") from e


def _of_rl(run: Path, model: Path | None, summary: RlSummary, results: Sequence[Results]) -> Trained:
    """Of a run of train_ppo_ray."""
    flags, method = summary.flags, summary.method
    return Trained(
        name=summary.name or run.resolve().name,
        folder=model or place_of(run, flags["--ckpt.output_dir"]),
        base_model=flags["--actor.model_name_or_path"],
        method=summary.kind or method,
        how=f"reinforcement learning ({code(f'openrlhf.cli.train_ppo_ray --experience_maker {method}')})",
        datasets=flags["--data.prompt_dataset"].split(","),
        settings=({"Method": _method_flags(flags)} if method == "marge" else {})
        | ({"Budget": {summary.budget: ""}} if summary.budget else {})
        | {"Training": _training_flags(flags)},
        before=results[0],
        after=results[-1],
        generated_tokens=summary.generated_tokens,
        versions=summary.versions,
    )


def _of_loop(run: Path, model: Path | None, summary: LoopSummary, results: Sequence[Results]) -> Trained:
    """Of an iteration of a DPO loop."""
    folders = iteration_folders(run)
    number = _iteration(run, model, folders, summary.best_iteration)
    explored, noted = (read_object(folders[number] / name) for name in ("explore/settings.json", "stages.json"))
    stages = {
        title: _training_flags(flag_values(redacted_words(noted[stage]["command"])))
        for stage, title in LOOP_STAGES.items()
        if isinstance(noted[stage], dict)
    }
    return Trained(
        name=f"{run.resolve().name}-iteration_{number}",
        folder=folders[number] / "model",
        base_model=summary.before.model,
        method=f"{summary.kind}_dpo" if summary.kind != "sft" else "sft",
        how=f"iteration {number} of a loop of exploring, pairs of the kind {code(summary.kind)} and training on "
        "them (`openrlhf_marge.cli.marge_dpo`)",
        datasets=str(explored["--data.prompt_dataset"]).split(","),
        settings={"Method": _method_flags(explored), **stages},
        before=results[0],
        after=results[number],
        generated_tokens=sum(
            read_object(folder / "explore" / "summary.json")["generated_tokens"] for folder in folders[1 : number + 1]
        ),
        versions=summary.versions,
    )  # fmt: skip


def _iteration(run: Path, model: Path | None, folders: Sequence[Path], best: int) -> int:
    """The number of the model's iteration; ValueError when it is the model that the loop began with, or another."""
    numbers = {(folder / "model").resolve(): number for number, folder in enumerate(folders) if number}
    number = numbers.get(model.resolve(), 0) if model else best
    if not number:
        no_better = "none of its iterations was better than the model that it began with"
        raise ValueError(
            f"{run}: {f'--model {model} is no model of it' if model else no_better}; give --model, the model's folder "
            f"in an iteration, such as {folders[-1] / 'model'}"
        )
    return number


def _method_flags(flags: Mapping[str, Any]) -> FlagValues:
    """The --marge.* flags that are not at their defaults."""
    shown = {name: redacted(str(value)) for name, value in flags.items()}
    found = {name: value for name, value in shown.items() if name in DEFAULTS and not name.startswith(PLACES)}
    return {name: value for name, value in found.items() if value != str(DEFAULTS[name])}


def _training_flags(flags: Mapping[str, str]) -> FlagValues:
    return {name: value for name, value in flags.items() if not name.startswith((*PLACES, "--marge."))}
