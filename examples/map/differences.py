"""Differences from the baseline, over the seeds that both have: of one method, and of all in one table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rows import BASELINE, Row, by_run

from openrlhf_marge.compare.holm import holm
from openrlhf_marge.compare.statistics import Difference, interval_of_means
from openrlhf_marge.compare.tables import BEST, Cell, Table, markdown

LEAST_SEEDS = 5  # below which nothing is claimed
Runs = Mapping[str, Mapping[int, Row]]  # method -> seed -> row


def difference(name: str, runs: Runs) -> Difference | None:
    """Of pass@1, over the seeds that both have, each with a base model and held-out problems of its own."""
    found = by_seed(name, runs)
    return interval_of_means(found) if found else None


def by_seed(name: str, runs: Runs) -> list[float]:
    """pass@1 minus the baseline's, of each seed that both have."""
    mine, others = runs.get(name, {}), runs.get(BASELINE, {})
    return [mine[seed].pass_1 - others[seed].pass_1 for seed in sorted(mine.keys() & others.keys())]


def of_all(rows: Sequence[Row]) -> str:
    """At the end of the budget, a row per method and a column per regime; "" where there is no pair of runs."""
    regimes, found = by_run(rows), all_pairs(rows)
    if not found:
        return ""
    claimed = _claimed(found)
    shown = holm(claimed, interval_of_means)
    methods = dict.fromkeys(method for method, _ in found)
    cells = [(method, [_cell(found, shown, (method, regime)) for regime in regimes]) for method in methods]
    title = f"pass@1 at the end minus {BASELINE}'s, points, 95 % interval (common seeds)"
    said = (
        f"Bold: 0 is still outside when all {len(claimed)} intervals of at least {LEAST_SEEDS} seeds are asked "
        "at once (Holm). Of fewer seeds nothing is claimed."
    )
    return "\n".join([markdown(Table(title, "Method", [("", name) for name in regimes], cells)), said, ""])


def all_pairs(rows: Sequence[Row]) -> dict[tuple[str, str], list[float]]:
    """(method, regime) -> the differences by seed at the end, where there are any."""
    return {
        (method, regime): pairs
        for regime, runs in by_run(rows).items()
        for method in runs
        if method not in (BASELINE, "Before") and (pairs := by_seed(method, runs))
    }


def shown_at_once(rows: Sequence[Row]) -> set[tuple[str, str]]:
    """The (method, regime) whose interval leaves 0 out when all of seeds enough are asked at once."""
    return holm(_claimed(all_pairs(rows)), interval_of_means)


def _claimed(found: Mapping[tuple[str, str], list[float]]) -> dict[tuple[str, str], list[float]]:
    return {cell: pairs for cell, pairs in found.items() if len(pairs) >= LEAST_SEEDS}


def _cell(
    found: Mapping[tuple[str, str], Sequence[float]], shown: set[tuple[str, str]], cell: tuple[str, str]
) -> Cell:
    if cell not in found:
        return Cell("")
    pairs = found[cell]
    return Cell(f"{interval_text(interval_of_means(pairs))} ({len(pairs)})", BEST if cell in shown else "")


def interval_text(found: Difference | None) -> str:
    """In points, one digit; "" without a difference."""
    return "" if found is None else f"{100 * found.value:+.1f} {bounds_text(found)}"


def bounds_text(found: Difference) -> str:
    """In points; of one seed [n/a]."""
    return "[n/a]" if found.bounds is None else f"[{', '.join(f'{100 * bound:+.1f}' for bound in found.bounds)}]"
