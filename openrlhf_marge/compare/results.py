"""Scores and used budgets of all runs -> the tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from openrlhf_marge.compare.chains import told
from openrlhf_marge.compare.holm import holm
from openrlhf_marge.compare.plan import Plan, PlannedRun
from openrlhf_marge.compare.statistics import LEVEL, Difference, Scores, interval, over_seeds, paired
from openrlhf_marge.compare.tables import Cell, Table, marks
from openrlhf_marge.evaluation.estimates import Estimate
from openrlhf_marge.runs.marks import mark_name
from openrlhf_marge.runs.progress import ProgressPoint

DIGITS = 2  # of a percentage, as in the paper
TITLES = {
    "math": "MATH", "math500": "MATH500", "gsm8k": "GSM8k", "college_math": "College Math",
    "olympiadbench": "OlympiadBench",
}  # fmt: skip
SCORE_HEADER = (
    *("method", "data", "metric", "seeds", "mean", "standard_error"),
    *("difference", "difference_low", "difference_high", "shown_by_holm"),
)
Column = tuple[str, str]  # data set, metric


@dataclass(frozen=True)
class Results:
    """``scores`` by method, column and seed; ``used`` by run, of those that trained: their points, never empty.

    ``mark`` is the share of the budget at which the models were kept, None for its end.
    """

    plan: Plan
    scores: Mapping[str, Mapping[Column, Mapping[int, Scores]]]
    used: Sequence[tuple[PlannedRun, Sequence[ProgressPoint]]]
    mark: float | None = None

    @property
    def columns(self) -> list[Column]:
        return list(next(iter(self.scores.values())))

    def means(self, column: Column) -> dict[str, Estimate]:
        """By method."""
        return {name: over_seeds(of_method[column]) for name, of_method in self.scores.items()}

    @cached_property
    def differences(self) -> dict[tuple[str, Column], Difference]:
        """By method and column, of the methods that are not the baseline."""
        return {
            (name, column): interval(pairs) for column in self.columns for name, pairs in self._paired(column).items()
        }

    @cached_property
    def shown(self) -> set[tuple[str, Column]]:
        """Those of the differences that Holm's correction for the methods of a column leaves."""
        return {(name, column) for column in self.columns for name in holm(self._paired(column))}

    def _paired(self, column: Column) -> dict[str, list[Scores]]:
        baseline = self.scores[self.plan.baseline]
        return {
            name: paired(of_method[column], baseline[column])
            for name, of_method in self.scores.items()
            if name != self.plan.baseline
        }


def score_table(results: Results) -> Table:
    """Table 1's form: mean and standard error over seeds, in percent."""
    cells: dict[str, list[Cell]] = {name: [] for name in results.scores}
    for column in results.columns:
        means = results.means(column)
        marked = marks([100 * estimate.mean for estimate in means.values()], DIGITS)
        for (name, estimate), mark in zip(means.items(), marked, strict=True):
            standard_error = estimate.standard_error
            error = "" if standard_error is None else f" ± {100 * standard_error:.{DIGITS}f}"
            cells[name].append(Cell(f"{100 * estimate.mean:.{DIGITS}f}{error}", mark))
    title = f"Accuracy{_place(results)}, % (bold: highest mean, underlined: second; a rank, no test)"
    return Table(title, "Method", _heads(results), _rows(results, cells))


def difference_table(results: Results) -> Table:
    """Points of percent over the baseline, with their intervals; with a star those that Holm's correction leaves."""
    cells: dict[str, list[Cell]] = {}
    for key, found in results.differences.items():
        value, *bounds = (f"{100 * v:+.{DIGITS}f}" for v in (found.value, *(found.bounds or ())))
        text = f"{value} [{', '.join(bounds) or 'n/a'}]{' *' * (key in results.shown)}"
        cells.setdefault(key[0], []).append(Cell(text))
    title = f"Difference to {results.plan.baseline}{_place(results)}, points, {100 * LEVEL:.0f} % t interval"
    return Table(title, "Method", _heads(results), _rows(results, cells))


def _rows(results: Results, cells: Mapping[str, list[Cell]]) -> list[tuple[str, list[Cell]]]:
    """Each method's row; a chained one tells after its name which methods came before it."""
    chains = {method.name: told(results.plan.chain_of(method)) for method in results.plan.methods}
    return [(name + chains.get(name, ""), of_method) for name, of_method in cells.items()]


def score_rows(results: Results) -> tuple[Sequence[str], list[tuple[str | int | float | None, ...]]]:
    """The two first tables for a CSV file: header, and a row per method, data set and metric; shares, not percent."""
    rows = []
    for data, metric in results.columns:
        for name, estimate in results.means((data, metric)).items():
            found = results.differences.get(key := (name, (data, metric)))
            difference = (found.value, *(found.bounds or (None, None)), key in results.shown) if found else [None] * 4
            seeds = len(results.scores[name][data, metric])
            rows.append((name, data, metric, seeds, estimate.mean, estimate.standard_error, *difference))
    return SCORE_HEADER, rows


def mark_rows(at_marks: Sequence[Results]) -> tuple[Sequence[str], list[tuple[str | int | float | None, ...]]]:
    """The rows of ``score_rows`` at every mark, each after its share of the budget."""
    return ("share", *SCORE_HEADER), [(found.mark, *row) for found in at_marks for row in score_rows(found)[1]]


def _place(results: Results) -> str:
    return "" if results.mark is None else f" at {mark_name(results.mark)} % of the budget"


def _heads(results: Results) -> list[tuple[str, str]]:
    return [(TITLES.get(data, data), metric) for data, metric in results.columns]
