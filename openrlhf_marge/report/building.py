"""A sample of visits -> the problems that page.js reads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby
from operator import attrgetter

from openrlhf_marge.grading import gold_answer
from openrlhf_marge.report.model import ProblemData, visit_data
from openrlhf_marge.report.reading import Row, VisitRows, read_visits
from openrlhf_marge.report.texts import Decoder, questions


def build_problems(
    visits: Sequence[VisitRows], decoder: Decoder, progress: Callable[[int], object]
) -> list[ProblemData]:
    """The problems in order of their first visits; ``progress`` is told the completions of each visit read.

    ValueError naming a file that is torn, or when the decoder does not know the token ids.
    """
    problems: dict[str, ProblemData] = {}
    for path, of_file in groupby(visits, key=attrgetter("path")):
        wanted = list(of_file)
        for visit, groups in zip(wanted, read_visits(path, wanted), strict=True):
            problem = problems.setdefault(visit.problem_id, _problem(groups[0][0]))
            problem["visits"].append(visit_data(groups, decoder))
            progress(visit.end - visit.start)
    shown = list(problems.values())
    for problem, question in zip(shown, questions([p["prompt"] for p in shown]), strict=True):
        problem["question"] = question
    return shown


def _problem(row: Row) -> ProblemData:
    prompt, label = row["prompt"], row["label"]
    return ProblemData(
        id=row["problem_id"], question=prompt, prompt=prompt, label=label, gold=gold_answer(label), visits=[]
    )
