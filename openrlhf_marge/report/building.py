"""A sample of visits -> the problems that page.js reads."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Sequence
from itertools import groupby
from operator import attrgetter
from pathlib import Path

from openrlhf_marge.data.dump import is_candidates
from openrlhf_marge.data.dump_reading import stop_texts
from openrlhf_marge.data.parquet import open_file
from openrlhf_marge.decoding import Decoder
from openrlhf_marge.grading import gold_answer
from openrlhf_marge.report.model import ProblemData, visit_data
from openrlhf_marge.report.reading import Row, VisitRows, read_visits
from openrlhf_marge.report.texts import questions


def build_problems(
    visits: Sequence[VisitRows], decoder: Decoder, progress: Callable[[int], object]
) -> list[ProblemData]:
    """The problems in order of their first visits; ``progress`` is told the completions of each visit read.

    ValueError naming a file that is torn, or when the decoder does not know the token ids.
    """
    problems: dict[str, ProblemData] = {}
    names = dump_names({visit.path.parent for visit in visits})
    for path, of_file in groupby(visits, key=attrgetter("path")):
        wanted, stop = list(of_file), stop_texts(open_file(path).schema_arrow)
        for visit, groups in zip(wanted, read_visits(path, wanted), strict=True):
            problem = problems.setdefault(visit.problem_id, _problem(groups[0][0]))
            visit_shown = visit_data(groups, decoder, names[path.parent], is_candidates(path), stop)
            problem["visits"].append(visit_shown)
            progress(visit.end - visit.start)
    shown = list(problems.values())
    for problem, question in zip(shown, questions([p["prompt"] for p in shown]), strict=True):
        problem["question"] = question
    return shown


def dump_names(folders: Collection[Path]) -> dict[Path, str]:
    """Folder -> what tells it from the others: its path without what all have in common; "" for a single one."""
    common = os.path.commonpath([folder.absolute() for folder in folders])
    return {folder: str(folder.absolute().relative_to(common)) if len(folders) > 1 else "" for folder in folders}


def _problem(row: Row) -> ProblemData:
    prompt, label = row["prompt"], row["label"]
    return ProblemData(
        id=row["problem_id"], question=prompt, prompt=prompt, label=label, gold=gold_answer(label), visits=[]
    )
