"""Responses to the problems of tasks: sampled by an engine, graded and written."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from tqdm import tqdm

from openrlhf_marge.evaluation import Response
from openrlhf_marge.evaluation.responses import Answered
from openrlhf_marge.evaluation.tasks import Task
from openrlhf_marge.grading import answer_of, gold_answer, grade
from openrlhf_marge.rewards.domains import MATH, domain_reward
from openrlhf_marge.rewards.guard import GraderGuard
from openrlhf_marge.rewards.returned import CORRECT_ABOVE


@dataclass(frozen=True, slots=True)
class Output:
    """A sampled text, and whether the length limit ended it."""

    text: str
    truncated: bool


class Engine(Protocol):
    """What samples the responses; ``prompts`` are token ids."""

    def sample(self, prompts: Sequence[list[int]], n: int, temperature: float, top_p: float) -> list[list[Output]]:
        """n responses to each prompt, up to the length limit."""

    def greedy(self, prompts: Sequence[list[int]], runs: int) -> list[list[Output]]:
        """The greedy response to each prompt of every run."""


# (model, max_len, seed, further arguments, stop texts)
StartEngine = Callable[[str, int, int, dict[str, Any], list[str] | None], Engine]


def answer(args: argparse.Namespace, tasks: Sequence[Task], guard: GraderGuard, start: StartEngine) -> None:
    """Do what is not done; a batch is graded and written while the engine samples the next one.

    ``start`` is called only when something is left to sample.
    """
    batches = [(task, batch) for task in tasks for batch in task.batches(args.batch_size)]
    if not batches:
        return
    done = sum(len(task.done) for task in tasks)
    # What is left must not get the random numbers of what is done.
    engine = start(args.model, args.max_len, args.seed + done, args.engine_args, args.stop)
    total = sum(len(task.prompts) for task in tasks)
    with (
        tqdm(total=total, initial=done, desc="Evaluate", unit="problem") as progress,
        Writer(args.response_prefix, args.reward, args.workers, guard, progress) as writer,
    ):
        for task, batch in batches:
            ids = [task.prompts[i].ids for i in batch]
            sampled = engine.sample(ids, args.n, args.temperature, args.top_p) if args.n else [[] for _ in ids]
            writer.submit(task, batch, sampled, engine.greedy(ids, args.greedy_runs))


class Writer:
    """Grades and writes batches in the background, one after the other; leaving the context waits for the last."""

    def __init__(self, response_prefix: str, reward: str, workers: int, guard: GraderGuard, progress: tqdm) -> None:
        self._prefix, self._reward, self._guard, self._progress = response_prefix, reward, guard, progress
        self._graders = ThreadPoolExecutor(workers, thread_name_prefix="grade")
        self._background = ThreadPoolExecutor(1, thread_name_prefix="write")
        self._last: Future | None = None

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, *_: object) -> None:
        with self._graders, self._background:
            self._wait()

    def _wait(self) -> None:
        if self._last:
            self._last.result()

    def submit(self, task: Task, batch: Sequence[int], *outputs: Sequence[list[Output]]) -> None:
        """``outputs`` are the sampled and the greedy ones of each problem. What the batch before raised is raised
        here: RuntimeError when the guard finds the grader broken."""
        self._wait()
        self._last = self._background.submit(self._write, task, batch, *outputs)

    def _write(self, task: Task, *batch: Sequence[Any]) -> None:
        task.folder.write(self._graders.map(partial(self._answered, task), *batch))
        self._progress.update(len(batch[0]))

    def _answered(self, task: Task, index: int, *outputs: Sequence[Output]) -> Answered:
        problem = task.problems[index]
        sampled, greedy = ([self._graded(output, problem.label) for output in of_kind] for of_kind in outputs)
        return Answered(index, problem.text, problem.label, task.prompts[index].text, sampled, greedy)

    def _graded(self, output: Output, label: str) -> Response:
        text = self._prefix + output.text
        if self._reward != MATH:
            correct, answer = domain_reward(self._reward, text, label) > CORRECT_ABOVE, answer_of(text, "")
            reason = "correct" if correct else "no_answer" if answer is None else "wrong"
            return Response(text, answer, correct, reason, output.truncated)
        verdict = grade(text, label)
        self._guard.record(verdict, text, label)
        return Response(text, answer_of(text, gold_answer(label)), verdict.correct, verdict.reason, output.truncated)
