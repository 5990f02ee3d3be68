"""Values of the states of guidance: Fig. 3 and Fig. 5b."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import NamedTuple

from openrlhf_marge.figures.clustered import Clustered
from openrlhf_marge.figures.dump_totals import KINDS, DumpTotals, GuidanceKind, Values
from openrlhf_marge.figures.plot import CsvTable, Line, Missing, Panel, Plot, Point, Style
from openrlhf_marge.figures.runs import RunData
from openrlhf_marge.runs.log import Series, value_tags

PART = 5  # Fig. 5b compares the first and the last fifth of the policies, at least one each
VALUE = "V(s$_j$), mean reward of completions"
HEADER = ("state_index", "value", "standard_error", "count")


class Parts(NamedTuple):
    """Values in the first and in the last fifth of a run's policies."""

    start: Values
    end: Values


def state_values(run: RunData) -> Values:
    """V(s_j) over all guidance of a run; Missing when it has none."""
    values = _sum(run.files) or values_of_log(run.series)
    if not values:
        raise Missing(
            "it has no values of guided states, in a dump or in TensorBoard; run with --experience_maker marge, "
            "--marge.explore guided, and --marge.dump_dir or --logger.tensorboard_dir"
        )
    return values


def values_of_log(series: Series) -> Values:
    """From the TensorBoard log, where each number is the mean of a step."""
    tags = {(kind, index): tag for kind in KINDS.values() for index, tag in value_tags(series, kind)}
    return {key: Clustered.apart(value for _, value in series[tag]) for key, tag in tags.items()}


def figure_3(runs: Mapping[str, Values]) -> Plot:
    """Value by state index: of one run both kinds of guidance in one panel, of several a panel for each kind.

    Errors are those of the mean over problems, whose states come again at every visit; over steps where the values are
    from TensorBoard.
    """
    lines = {
        kind: [
            Line(f"{name}, {kind} guidance" if len(runs) == 1 else name, _curve(values, kind), color)
            for color, (name, values) in enumerate(runs.items(), start=number if len(runs) == 1 else 0)
            if _curve(values, kind)
        ]
        for number, kind in enumerate(KINDS.values())
    }
    panels = [_panel("", [line for of_kind in lines.values() for line in of_kind])]
    if len(runs) > 1:
        panels = [_panel(f"{kind} guidance", of_kind) for kind, of_kind in lines.items()]
    rows = [(name, *row) for name, values in runs.items() for row in _rows(values)]
    table = CsvTable(("run", "guidance", *HEADER), rows)
    return Plot(title="Values of the states of a guidance", panels=panels, table=table)


def values_at_both_ends(run: RunData) -> Parts:
    """V(s_j) of each part; Missing without two policies, or without guidance."""
    n, part = len(run.policies), max(1, len(run.policies) // PART)
    if n < 2:
        raise Missing(
            "it needs a dump of at least two policies; run with --marge.dump_dir for two steps or more, or a DPO loop "
            "with --iterations 2"
        )
    parts = Parts(*(_sum(list(chain(*some))) for some in (run.policies[:part], run.policies[-part:])))
    if not all(parts):
        raise Missing("its dump has no guided states at its start or end; run with --marge.explore guided")
    return parts


def figure_5b(runs: Mapping[str, Parts]) -> Plot:
    """State values at the start (dashed) and at the end (solid) of a run.

    The paper lets both policies complete the same states. The states of a run are its own at every step, and a problem
    that became easy gets an incorrect guidance, so the kinds of guidance are kept apart.
    """
    styles: dict[str, Style] = {"start": "dashed", "end": "solid"}
    panels = [
        _panel(f"{kind} guidance", [
            Line(f"{name}, {part}", _curve(getattr(parts, part), kind), color, style)
            for color, (name, parts) in enumerate(runs.items())
            for part, style in styles.items()
            if _curve(getattr(parts, part), kind)
        ])
        for kind in KINDS.values()
    ]  # fmt: skip
    rows = [
        (name, part, *row) for name, parts in runs.items() for part in styles for row in _rows(getattr(parts, part))
    ]
    table = CsvTable(("run", "part", "guidance", *HEADER), rows)
    return Plot(title="State values at the start and at the end of training", panels=panels, table=table)


def _sum(files: Sequence[DumpTotals]) -> Values:
    parts = defaultdict(list)
    for totals in files:
        for key, values in totals.values.items():
            parts[key].append(values)
    return {key: Clustered.joined(of_key) for key, of_key in parts.items()}


def _curve(values: Values, kind: GuidanceKind) -> list[Point]:
    return [Point(index, v.mean, v.error) for (of, index), v in sorted(values.items()) if of == kind]


def _rows(values: Values) -> list[tuple[str, int, float, float | None, int]]:
    return [(kind, index, v.mean, v.error, v.count) for (kind, index), v in sorted(values.items())]


def _panel(title: str, lines: Sequence[Line]) -> Panel:
    return Panel(title=title, x_label="state index j", y_label=VALUE, lines=lines, y_range=(0, 1), whole_x=True)
