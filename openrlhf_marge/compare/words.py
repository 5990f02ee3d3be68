"""The difference table in words, which say no more than its intervals."""

from __future__ import annotations

from openrlhf_marge.compare.results import DIGITS, Column, Results

WORDED = 1  # digits of a number of points; those of the table where so few would show it as 0


def sentences(results: Results) -> list[str]:
    """One for every method and data set, of its first metric."""
    first: dict[str, Column] = {}
    for column in results.columns:
        first.setdefault(column[0], column)
    return [
        f"{f'{data}: ' if len(first) > 1 else ''}{sentence(results, name, column)}"
        for data, column in first.items()
        for name in results.scores
        if name != results.plan.baseline
    ]


def sentence(results: Results, name: str, column: Column) -> str:
    """Where the method is, and whether that shows: by its interval, and of several by Holm's correction."""
    found, baseline = results.differences[name, column], results.plan.baseline
    side = "below" if found.value < 0 else "above"
    said = f"{name} is {side} {baseline} by {_points(abs(found.value))} points"
    if not found.value:
        said = f"{name} is level with {baseline}"
    seeds = max(len(results.scores[method][column]) for method in (name, baseline))
    none = f"so {f'the {seeds} seeds show' if seeds > 1 else 'one seed shows'} no difference."
    if found.bounds is None:
        return f"{said}, with nothing that varies to make an interval of, {none}"
    interval = f"[{', '.join(_points(bound, '+') for bound in found.bounds)}]"
    if not found.is_shown:
        return f"{said}; the interval {interval} does not leave 0 out, {none}"
    said += f" {interval}" + (", over the problems of one seed" if seeds == 1 else "")
    compared = len(results.scores) - 1
    if compared == 1:
        return f"{said}."
    if (name, column) in results.shown:
        return f"{said}, also with all {compared} differences asked at once (Holm)."
    return f"{said}, but not with all {compared} differences asked at once (Holm), {none}"


def _points(share: float, sign: str = "") -> str:
    points = 100 * share
    digits = WORDED if round(points, WORDED) or not points else DIGITS
    return f"{points:{sign}.{digits}f}"
