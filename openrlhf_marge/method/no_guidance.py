"""Why problems found no guidance, in words: counts, one example, and what to look at where hardly any found one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from openrlhf_marge.decoding import before_stop
from openrlhf_marge.grading import answer_of, gold_answer
from openrlhf_marge.method.groups import Exploration, StateGroup
from openrlhf_marge.types import Completion

Decode = Callable[[Sequence[int]], str]
FEW = 0.1  # share of problems with guidance below which something is likely to be wrong
SHOWN_CHARS = 200  # of the end of a prompt or response
GRADER = "grader_"  # what the extra logs of the package's grader begin with, see ``batch_grading``


class WithoutGuidance:
    """Takes explorations as they come; of those without guidance it keeps counts and the first one.

    ``stop`` is ``--marge.stop``.
    """

    def __init__(self, stop: Sequence[str] = ()) -> None:
        self._stop = stop
        self._problems = self._found_none = self._no_correct = self._no_incorrect = 0
        self._responses = self._truncated = self._unanswered = self._correct = 0
        self._example: StateGroup | None = None

    def add(self, exploration: Exploration) -> None:
        """One visit; a problem whose prompt leaves no room says nothing about guidance."""
        self._problems += not exploration.no_room
        if not exploration.no_guidance:
            return
        tried = exploration.candidates or exploration.groups[0]
        self._no_correct += tried.pass_rate == 0
        self._no_incorrect += tried.pass_rate == 1
        self._responses += len(tried.completions)
        self._correct += sum(c.is_correct for c in tried.completions)
        self._truncated += sum(c.truncated for c in tried.completions)
        self._unanswered += sum(_reason(c) in ("no_answer", "unparsable") for c in tried.completions)
        self._found_none += 1
        self._example = self._example or tried

    def sentence(self, decode: Decode) -> str | None:
        """What was found, with an example; None where every problem found guidance."""
        if self._example is None:
            return None
        advice = self._advice() if self._problems - self._found_none < FEW * self._problems else ""
        example = _example(self._example, decode, self._stop)
        return (
            f"{self._found_none} of {self._problems} problems found no response that could guide: {self._no_correct} "
            f"had no correct one, {self._no_incorrect} no incorrect one. {example}{advice}"
        )

    def _advice(self) -> str:
        def share(count: int) -> str:
            return f"{count / self._responses:.0%}"

        return (
            " So few found guidance that one of these may be wrong: the prompt (--data.input_key, "
            "--data.input_template, --data.apply_chat_template), the length limit "
            f"({share(self._truncated)} of these responses were cut off by --rollout.max_new_tokens or "
            "--data.max_len), the grader (--reward.remote_url or --marge.reward; it read no answer in "
            f"{share(self._unanswered)}), or the difficulty ({share(self._correct)} were correct)."
        )


def without_guidance(explorations: Iterable[Exploration], decode: Decode, stop: Sequence[str] = ()) -> str | None:
    """The sentence about some explorations."""
    found = WithoutGuidance(stop)
    for exploration in explorations:
        found.add(exploration)
    return found.sentence(decode)


def _example(group: StateGroup, decode: Decode, stop: Sequence[str]) -> str:
    response = group.completions[0]
    text, prefix = decode([*group.state.prefix_ids, *response.token_ids]), decode(group.state.prefix_ids)
    text = text[: len(prefix)] + before_stop(text[len(prefix) :], stop)
    gold = gold_answer(group.problem.label)
    reason, end = _reason(response), " and was cut off by the length limit" if response.truncated else ""
    read = "" if reason is None else f"the package's grader reads the answer {answer_of(text, gold)!r} ({reason}), "
    return (
        f"For example the problem {_end(group.problem.prompt)}: the model wrote {_end(text)}{end}; {read}"
        f"the gold answer is {gold!r}, the reward {response.reward:g}."
    )


def _reason(completion: Completion) -> str | None:
    """The verdict in the words of the package's grader; None where another function graded."""
    logs = {name.removeprefix(GRADER): value for name, value in completion.extra_logs if name.startswith(GRADER)}
    if not logs:
        return None
    verdict = "correct" if completion.is_correct else "wrong"
    return next((reason for reason, value in logs.items() if value and reason != "wait_seconds"), verdict)


def _end(text: str) -> str:
    return repr(text if len(text) <= SHOWN_CHARS else "..." + text[-SHOWN_CHARS:])
