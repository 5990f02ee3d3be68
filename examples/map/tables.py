"""Rows of the map -> tables with intervals, sentences that say no more than these, and the picture."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev

from differences import LEAST_SEEDS, Runs, bounds_text, by_seed, difference, interval_text, of_all, shown_at_once
from overview import mean_text, overview
from rows import BASELINE, MARKS, Row, by_run

from openrlhf_marge.compare.tables import Cell, Table, markdown
from openrlhf_marge.data.files import writing
from openrlhf_marge.figures import plot, save

BESIDE = 0.7  # percent of the budget between two methods' bars


def write(rows: Sequence[Row], folder: Path) -> str:
    """tables.md and map.png beside the rows, the latter where a method has seeds enough; returns what was written."""
    shown = shown_at_once(rows)
    text = "\n".join([overview(rows), of_all(rows), *(regime_text(rows, name, shown) for name in by_run(rows))])
    with writing(folder / "tables.md") as file:
        file.write(text)
    print(text)
    drawn = picture(rows)
    if not drawn.panels:
        return f"tables.md; map.png needs {LEAST_SEEDS} seeds of a method"
    save(drawn, folder / "map.png")
    return "tables.md, map.png"


def regime_text(rows: Sequence[Row], regime: str, shown: Container[tuple[str, str]]) -> str:
    """The table of a regime and its sentences; ``shown`` as from ``shown_at_once``, which asks all regimes."""
    runs = by_run(rows)[regime]
    table = Table(
        regime, "Method", [("", head) for head in HEADS], [(name, cells(rows, regime, name)) for name in runs]
    )
    said = [
        sentence(name, runs, (name, regime) in shown)
        for name in runs
        if name not in (BASELINE, "Before") and BASELINE in runs
    ]
    return "\n".join([markdown(table), *(f"- {s}" for s in said), ""])


HEADS = (
    *("seeds", "pass@1 at 25 %", "at 50 %", "at the end", "pass@8", "pass@64", f"pass@1 minus {BASELINE}'s at 25 %"),
    *("at the end", "% of the budget used at the three", "tokens per update", "optimizer steps", "groups with signal"),
    *("groups after s_0", "entropy"),
)


def cells(rows: Sequence[Row], regime: str, name: str) -> list[Cell]:
    """A method's row of the table; percent and points."""
    at = {mark: by_run(rows, mark).get(regime, {}) for mark in MARKS}
    end = list(at[1.0][name].values())
    passes = [mean_text([r.pass_1 for r in of_mark.get(name, {}).values()], 100) for of_mark in at.values()]
    differences = [interval_text(difference(name, at[mark])) if name != BASELINE else "" for mark in (MARKS[0], 1.0)]
    return [
        Cell(text)
        for text in (
            str(len(end)), *passes, mean_text([r.pass_8 for r in end], 100), mean_text([r.pass_64 for r in end], 100),
            *differences, ", ".join(filter(None, (_used(of_mark.get(name, {})) for of_mark in at.values()))),
            mean_text([r.tokens / r.updates for r in end if r.tokens and r.updates], 1, 0),
            mean_text([r.optimizer_steps for r in end], 1, 0), mean_text([r.groups_with_signal for r in end], 100),
            mean_text([r.groups_after_s0 for r in end], 100),
            mean_text([r.entropy for r in end], 1, 3),
        )
    ]  # fmt: skip


def _used(runs: Mapping[int, Row]) -> str:
    """Least and most of the runs; "" where it is not known."""
    known = [100 * row.used for row in runs.values() if row.used is not None]
    return " to ".join(dict.fromkeys(f"{used:.0f}" for used in (min(known), max(known)))) if known else ""


def sentence(name: str, runs: Runs, stays: bool) -> str:
    """What the seeds show at the end of the budget; ``stays``: also by Holm, when all are asked at once."""
    found, n = difference(name, runs), len(by_seed(name, runs))
    if found is None or found.bounds is None:
        return f"{name} and {BASELINE} have {n} common seeds, which show nothing."
    where = f"{name} is {100 * found.value:+.1f} points from {BASELINE} {bounds_text(found)} with {n} seeds"
    if n < LEAST_SEEDS:
        return f"{where}; nothing is claimed from fewer than {LEAST_SEEDS}."
    if not found.is_shown:
        return f"{where}, which show no difference."
    if not stays:
        return f"{where}, but not when all are asked at once (Holm), so they show no difference."
    return f"{where}: it is {'above' if found.value > 0 else 'below'}, also when all are asked at once (Holm)."


def picture(rows: Sequence[Row]) -> plot.Plot:
    """Methods of which something is claimed: pass@1 over the share of the budget, and what it is from GRPO's by seed.

    A row per regime, in which these have seeds enough.
    """
    regimes = by_run(rows)
    methods = dict.fromkeys(
        name for runs in regimes.values() for name in runs if name != "Before" and len(runs[name]) >= LEAST_SEEDS
    )
    pairs = [_panels(rows, regime, list(methods)) for regime in regimes]
    panels = [panel for pair in pairs if any(panel.lines for panel in pair) for panel in pair]
    return plot.Plot(title="Equal generated tokens", panels=panels, table=plot.CsvTable((), ()), columns=2)


def _panels(rows: Sequence[Row], regime: str, methods: Sequence[str]) -> list[plot.Panel]:
    """The two of a regime; a method has the same color in all regimes."""
    runs = by_run(rows)[regime]
    drawn = [(color, name) for color, name in enumerate(methods) if len(runs.get(name, {})) >= LEAST_SEEDS]
    return [
        plot.Panel(
            title=f"{regime}{title}", x_label="share of the budget, %", y_label=label,
            lines=[line for color, name in drawn if (line := draw(rows, regime, name, color))],
        )
        for draw, title, label in (
            (_curve, ", ± standard error", "pass@1, %"),
            (_differences, f", minus {BASELINE}'s, 95 % interval", "pass@1, points"),
        )
    ]  # fmt: skip


def _curve(rows: Sequence[Row], regime: str, name: str, color: int) -> plot.Line | None:
    """It begins with the base models, where all of its seeds have one."""
    points, seeds = [], by_run(rows)[regime][name].keys()
    for mark, at in [(0.0, "Before"), *((mark, name) for mark in MARKS)]:
        runs = by_run(rows, mark or 1.0).get(regime, {}).get(at, {})
        values = [100 * row.pass_1 for seed, row in runs.items() if seed in seeds]
        if values and (mark or len(values) == len(seeds)):
            error = stdev(values) / len(values) ** 0.5 if len(values) > 1 else None
            points.append(plot.Point(100 * mark, mean(values), error))
    return plot.Line(name, points, color) if len(points) > 1 else None


def _differences(rows: Sequence[Row], regime: str, name: str, color: int) -> plot.Line | None:
    """From the baseline; its own is the line at 0. Methods stand beside each other, so that their bars do."""
    found = [(mark, difference(name, by_run(rows, mark).get(regime, {}))) for mark in MARKS]
    points = [
        plot.Point(100 * mark + BESIDE * color, 100 * d.value, 50 * (d.bounds[1] - d.bounds[0]))
        for mark, d in found
        if d is not None and d.bounds is not None
    ]
    return plot.Line(name, points, color) if points else None
