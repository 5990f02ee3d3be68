"""What pretraining and measuring ask of a task at one level: problems, a teacher of them, phrases."""

import json
import random
from collections.abc import Hashable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar


class Problem(Hashable, Protocol):
    """A question with its answer; equal problems are equal objects."""

    datasource: ClassVar[str]

    @property
    def question(self) -> str:
        """The user message, without a chat template."""

    @property
    def label(self) -> str:
        """What a response is graded by."""

    def is_solved_by(self, response: str) -> bool:
        """The verdict of the task's grader."""


class Teacher(Protocol):
    """Works problems out, with errors."""

    def demonstrate(self, problem: Any, rng: random.Random) -> str:
        """A response to a problem of the task."""


class Task(Protocol):
    """A task at one level."""

    @property
    def num_train(self) -> int:
        """Training problems."""

    @property
    def max_len(self) -> int:
        """Tokens of prompt and response that a run should allow (--data.max_len)."""

    @property
    def min_pass_at_1(self) -> float:
        """A base model below this repeats the schedule."""

    @property
    def dtype(self) -> str:
        """PyTorch's name of the precision in which the base model is measured."""

    @property
    def phrases(self) -> Sequence[str]:
        """Texts with a token of their own."""

    def problems(self, rng: random.Random) -> Iterator[Problem]:
        """Distinct problems, endless or until there are no more."""

    def problems_to_demonstrate(self, rng: random.Random, heldout: Sequence[Problem]) -> Iterator[Problem]:
        """Endless problems, none of the held-out ones."""

    def teacher(self, seed: int) -> Teacher:
        """Whose demonstrations a base model learns."""


P = TypeVar("P", bound=Hashable)


def distinct(problems: Iterable[P], exclude: Iterable[P] = ()) -> Iterator[P]:
    """Each problem once, none of those in ``exclude``."""
    seen = set(exclude)
    for problem in problems:
        if problem not in seen:
            seen.add(problem)
            yield problem


def split(problems: Iterator[P], num_train: int, num_heldout: int) -> tuple[list[P], list[P]]:
    """Training and held-out problems, disjoint. The held-out ones do not change with ``num_train``."""
    heldout = list(islice(problems, num_heldout))
    return list(islice(problems, num_train)), heldout


def write_jsonl(problems: Iterable[Problem], path: Path) -> None:
    """Rows for OpenRLHF's `--data.input_key input --data.label_key label --data.apply_chat_template`."""
    rows = ({"input": p.question, "label": p.label, "datasource": p.datasource} for p in problems)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
