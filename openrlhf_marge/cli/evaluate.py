"""pass@1, pass@k and maj@k of a model: sampled by one vLLM engine, graded by the package's grader.

    python -m openrlhf_marge.cli.evaluate --model MODEL --data gsm8k math500 --prompt auto --out RESULT.json
    python -m openrlhf_marge.cli.evaluate --model MODEL --data FILE --input_key query --label_key answer --out ...

--data: a test set of the paper by name (math, math500, gsm8k, college_math, olympiadbench; NAME=FOLDER reads a local
copy), or a .jsonl or .parquet file. --model: also a checkpoint of the paper's tables by name, or NAME=FOLDER; --prompt
own prompts it as its owners do, --prompt auto as the paper does. RESULT.json holds the numbers, with several data sets
as one object for each; RESULT-responses/ beside it holds every response. The same command, started again after a crash
or with another --k, samples only what is missing. Exit status: 0, 1 when engine or grader fail, 2 for bad input.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from openrlhf_marge.cli.exits import exit_status
from openrlhf_marge.data.files import check_out, write_json
from openrlhf_marge.data.plurals import counted
from openrlhf_marge.evaluation import over_problems
from openrlhf_marge.evaluation.answering import answer
from openrlhf_marge.evaluation.flags import parse_args
from openrlhf_marge.evaluation.prompting import Prompter
from openrlhf_marge.evaluation.results import EvaluationResult
from openrlhf_marge.evaluation.tasks import Task, make_task, metrics_of, settings_of
from openrlhf_marge.host.standalone.evaluation_engine import Engine
from openrlhf_marge.models import check_model
from openrlhf_marge.rewards.domains import REWARDS
from openrlhf_marge.rewards.guard import GraderGuard, max_failures
from openrlhf_marge.rewards.workers import start_pool
from openrlhf_marge.runs.cpu import environment

NAMED = 5  # problems left out whose places are printed


def prepare(args: argparse.Namespace) -> tuple[list[Task], GraderGuard]:
    """Everything that can be wrong before the engine starts; ValueError or OSError then. Resolves --prompt auto."""
    check_model(args.model, args.max_len)
    REWARDS.load(args.reward)
    prompter = Prompter(args.model, args.prompt, args.response_prefix, args.input_template, args.system_prompt)
    args.prompt = prompter.name
    check_out(args.out, map(Path, args.data))
    start_pool(args.workers)
    return [make_task(args, data, prompter) for data in args.data], GraderGuard(max_failures())


def result_of(args: argparse.Namespace, task: Task) -> EvaluationResult:
    """What the responses of a data set say, and how they were sampled."""
    estimates = over_problems(metrics_of(args, task.folder.read()))
    print(f"{task.data}: {counted(len(task.prompts), 'problem')}")
    told = {
        "data": task.data,
        "problems": len(task.prompts),
        "problems_left_out_prompt_too_long": len(task.too_long()),
        "responses": str(task.folder.path),
        **settings_of(args),
    }
    for name, estimate in estimates.items():
        error = "n/a" if estimate.standard_error is None else f"{estimate.standard_error:.4f}"
        print(f"  {name:<20} {estimate.mean:>8.4f} +- {error}")
    return EvaluationResult(told, estimates)


def warn_of_long_prompts(task: Task, max_len: int) -> None:
    if places := task.too_long():
        named = "; ".join(places[:NAMED]) + " ..." * (len(places) > NAMED)
        print(
            f"--data {task.data}: {len(places)} of {len(task.problems)} prompts leave no room for a response within "
            f"--max_len {max_len} and are left out: {named}",
            file=sys.stderr,
        )


def evaluate(args: argparse.Namespace) -> str:
    """The file that was written; ValueError for bad input, RuntimeError when the engine or the grader fails."""
    os.environ.update(environment())
    tasks, guard = prepare(args)
    for task in tasks:
        warn_of_long_prompts(task, args.max_len)
    answer(args, tasks, guard, Engine)
    results = {task.data: result_of(args, task).as_dict() for task in tasks}
    write_json(args.out, results if len(tasks) > 1 else results[tasks[0].data])
    return str(args.out)


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv, __doc__)
    return exit_status("evaluate", lambda: evaluate(args), "; the same command goes on where it was")


if __name__ == "__main__":
    sys.exit(main())
