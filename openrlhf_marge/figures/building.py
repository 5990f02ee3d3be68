"""All figures that the data of some runs allow, and why the others are missing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from openrlhf_marge.figures.accuracy import accuracy
from openrlhf_marge.figures.fig1_6_scaling import convergence, figure_1, figure_6, table_7
from openrlhf_marge.figures.fig3_5b_states import figure_3, figure_5b, state_values, values_at_both_ends
from openrlhf_marge.figures.fig4_passes import evaluations, figure_4
from openrlhf_marge.figures.fig5a_entropy import exploration, figure_5a
from openrlhf_marge.figures.plot import CsvTable, Missing, Plot
from openrlhf_marge.figures.runs import RunData

# Figure of the paper -> what it needs of every run, and what draws that of all runs by their names.
FIGURES: Mapping[str, tuple[Callable[[RunData], Any], Callable[[Mapping[str, Any]], Plot]]] = {
    "1": (convergence, figure_1),
    "3": (state_values, figure_3),
    "4": (evaluations, figure_4),
    "5a": (exploration, figure_5a),
    "5b": (values_at_both_ends, figure_5b),
    "6": (accuracy, figure_6),
}


@dataclass(frozen=True, slots=True)
class Figures:
    """File names without ending -> plots and further tables; a sentence for everything that is missing."""

    plots: dict[str, Plot] = field(default_factory=dict)
    tables: dict[str, CsvTable] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)


def build_figures(runs: Sequence[RunData]) -> Figures:
    """Every figure with the runs that have its data; a figure of none is left out."""
    figures = Figures()
    for number, (read, build) in FIGURES.items():
        found = {}
        for run in runs:
            try:
                found[run.name] = read(run)
            except Missing as e:
                figures.missing.append(f"Fig. {number} leaves out {run.name}: {e}")
        try:
            if found:
                figures.plots[f"fig{number}"] = build(found)
        except Missing as e:
            figures.missing.append(f"Fig. {number} is not drawn: {e}")
        if number == "6" and "fig6" in figures.plots:
            figures.tables["table7"] = table_7(found)
    return figures
