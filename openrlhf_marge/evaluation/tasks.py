"""The tasks of an evaluation: what decides the responses to a data set, and which are still missing."""

from __future__ import annotations

import argparse
import functools
import inspect
import json
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openrlhf_marge.grading
from openrlhf_marge.data.redaction import redacted
from openrlhf_marge.evaluation.metrics import problem_metrics
from openrlhf_marge.evaluation.problems import TestProblem, load_problems
from openrlhf_marge.evaluation.prompting import Prompt, Prompter
from openrlhf_marge.evaluation.responses import Answered, ResponseFolder
from openrlhf_marge.rewards.domains import MATH, REWARDS
from openrlhf_marge.seeds import stable_hash

# What decides the responses, besides the problems; the flags of the same names.
SETTINGS = (
    "model", "prompt", "response_prefix", "n", "greedy_runs", "temperature", "top_p", "max_len", "seed", "engine_args",
)  # fmt: skip
OF_A_RUN = ("input_template", "stop", "system_prompt")  # told where they are given


@dataclass(frozen=True, slots=True)
class Task:
    """One data set. ``prompts`` are those with room for a response, by the index of the problem."""

    data: str
    problems: list[TestProblem]
    prompts: dict[int, Prompt]
    folder: ResponseFolder
    done: frozenset[int]

    def too_long(self) -> list[str]:
        """Places of the problems that are left out."""
        return [problem.place for i, problem in enumerate(self.problems) if i not in self.prompts]

    def batches(self, size: int) -> list[list[int]]:
        """Indices of the problems that are not done."""
        left = sorted(self.prompts.keys() - self.done)
        return [left[start : start + size] for start in range(0, len(left), size)]


def make_task(args: argparse.Namespace, data: str, prompter: Prompter) -> Task:
    """Read the data and the responses that are there; ValueError when that cannot be done, or no prompt has room."""
    problems = load_problems(data, args.input_key, args.label_key)
    prompts = {i: prompter.prompt(problem.text) for i, problem in enumerate(problems)}
    fitting = {i: prompt for i, prompt in prompts.items() if len(prompt.ids) < args.max_len}
    if not fitting:
        shortest = min(len(prompt.ids) for prompt in prompts.values())
        raise ValueError(f"--data {data}: the shortest prompt has {shortest} tokens; raise --max_len {args.max_len}")
    settings = settings_of(args) | {"files": _files(args.model), "grader": grader_version(args.reward)}
    digest = stable_hash(settings, [(problem.text, problem.label) for problem in problems])
    folder = ResponseFolder(args.out.with_name(f"{args.out.stem}-responses") / f"{Path(data).stem}-{digest:016x}")
    with (folder.path / "settings.json").open("w", encoding="utf-8") as file:
        file.write(redacted(json.dumps({"data": data, **settings}, indent=1)))
    return Task(data, problems, fitting, folder, frozenset(answered.index for answered in folder.read()))


def settings_of(args: argparse.Namespace) -> dict[str, Any]:
    """What decides the responses and their verdicts, by flag."""
    given = {name: value for name in OF_A_RUN if (value := getattr(args, name))}
    given |= {} if args.reward == MATH else {"reward": args.reward}
    return {name: getattr(args, name) for name in SETTINGS} | given


def metrics_of(args: argparse.Namespace, answered: Iterable[Answered]) -> list[dict[str, float]]:
    """Of each problem, with the flags of its evaluation."""
    one_answer = args.reward == MATH
    return [problem_metrics(a.sampled, a.greedy, args.k, one_answer=one_answer) for a in answered]


@functools.cache
def grader_version(reward: str) -> str:
    """Of the code that gives the verdicts, by which kept ones are told from those of another version.

    Of an installed reward it is the file of its function or class; compiled code has no version.
    """
    function: Any = REWARDS.load(reward)
    if function is None:
        files = sorted(Path(openrlhf_marge.grading.__file__).parent.glob("*.py"))
    else:
        while isinstance(function, functools.partial):
            function = function.func
        function = inspect.unwrap(function)
        of_python = function if inspect.isfunction(function) or inspect.isclass(function) else type(function)
        file = getattr(sys.modules.get(of_python.__module__), "__file__", None)
        files = [Path(file)] if file and file.endswith(".py") else []
    return f"{stable_hash([file.read_text(encoding='utf-8') for file in files]):016x}"


def _files(model: str) -> dict[str, tuple[int, int]]:
    """Sizes and times of a model's files but its card: one that was trained on in the same folder is another model."""
    files = [file for file in sorted(Path(model).glob("*")) if file.is_file() and file.suffix != ".md"]
    stats = {file.name: file.stat() for file in files}
    return {name: (stat.st_size, stat.st_mtime_ns) for name, stat in stats.items()}
