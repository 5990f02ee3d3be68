"""A trained model in words: a YAML head that the Hugging Face hub reads, then data, settings and results."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from huggingface_hub import EvalResult, ModelCardData

from openrlhf_marge.evaluation import DATA_SETS, Estimate
from openrlhf_marge.evaluation.results import Results
from openrlhf_marge.model_card.facts import FlagValues, Trained
from openrlhf_marge.model_card.markup import code, plain

MARKER = "<!-- written by openrlhf_marge.cli.model_card, which writes it anew while this line is here -->"
SAMPLING = ("problems", "n", "greedy_runs", "temperature", "top_p", "max_len", "prompt", "seed")  # of evaluate's JSON
HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")


def model_card(trained: Trained) -> str:
    """The README.md; the same for the same run, whenever it is made."""
    lines = [
        "---", _head(trained), "---", MARKER, "",
        f"# {plain(trained.name)}", "",
        f"{code(trained.base_model)} after {trained.how}, by [OpenRLHF](https://github.com/OpenRLHF/OpenRLHF) and "
        "openrlhf_marge ([MARGE](https://arxiv.org/abs/2505.12500)).", "",
        "## Data", "",
        *(f"- {code(name)}" for name in trained.datasets),
        *([f"- {plain(tokens)} tokens generated in training"] if (tokens := trained.generated_tokens) else []), "",
        "## Settings", "",
        *_settings(trained.settings),
        "## Results", "",
        *_results(trained.before, trained.after),
    ]  # fmt: skip
    if trained.versions:
        versions = ", ".join(f"{plain(name)} {plain(version)}" for name, version in trained.versions.items())
        lines += ["", "## Versions", "", versions]
    return "\n".join(lines) + "\n"


def _head(trained: Trained) -> str:
    """Only names of the hub are links in it: no path of a machine, which the hub would refuse."""
    return ModelCardData(
        base_model=trained.base_model if _is_on_hub(trained.base_model) else None,
        datasets=[name for name in trained.datasets if _is_on_hub(name)] or None,
        library_name="transformers",
        pipeline_tag="text-generation",
        tags=["openrlhf", "openrlhf_marge", trained.method],
        model_name=trained.name,
        eval_results=[_eval_result(*row) for row in _scores(trained.after)],
    ).to_yaml()


def _is_on_hub(name: str) -> bool:
    """Whether a model or data set can only be meant as "owner/name" on the hub."""
    return bool(HUB_NAME.fullmatch(name)) and not Path(name).exists() and not name.endswith((".jsonl", ".parquet"))


def _scores(results: Results) -> Iterator[tuple[str, str, Estimate]]:
    """(data set, metric, its estimate)."""
    for data, result in results.items():
        for metric, estimate in result.scores.items():
            yield data, metric, estimate


def _eval_result(data: str, metric: str, estimate: Estimate) -> EvalResult:
    known = DATA_SETS.get(data)
    return EvalResult(
        task_type="text-generation",
        dataset_type=known.path if known else data,
        dataset_name=data,
        dataset_split=known.split if known else None,
        metric_type=metric,
        metric_name=metric,
        metric_value=round(estimate.mean, 4),
    )


def _settings(settings: Mapping[str, FlagValues]) -> Iterator[str]:
    for title, flags in settings.items():
        yield f"{plain(title)}:"
        yield ""
        if not flags:
            yield "All `--marge.*` flags are at their defaults."
        for name, value in flags.items():
            yield f"- {code(f'{name} {value}'.rstrip())}"
        yield ""


def _results(before: Results, after: Results) -> Iterator[str]:
    """Mean over the problems and its standard error, and how the responses were sampled."""
    yield "| data | metric | before | after |"
    yield "| --- | --- | --- | --- |"
    for data, name, estimate in _scores(after):
        began = before[data].estimates.get(name) if data in before else None
        cells = map(_cell, (began, estimate))
        yield f"| {plain(data)} | {plain(name)} | {' | '.join(cells)} |"
    yield ""
    for data, result in after.items():
        told = result.told
        yield f"- {plain(data)}: " + ", ".join(f"{n} {plain(told[n])}" for n in SAMPLING if n in told)


def _cell(estimate: Estimate | None) -> str:
    if estimate is None:
        return "not evaluated"
    shown = "" if estimate.standard_error is None else f" \u00b1 {estimate.standard_error:.4f}"
    return f"{estimate.mean:.4f}{shown}"
