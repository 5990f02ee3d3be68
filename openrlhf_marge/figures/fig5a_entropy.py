"""Outcomes and pairs that exploration finds per generated token: Fig. 5a."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from itertools import accumulate, pairwise

from openrlhf_marge.figures.plot import CsvTable, Line, Missing, Panel, Plot, Point
from openrlhf_marge.figures.runs import RunData
from openrlhf_marge.method.metrics import COMPLETION_TOKENS, OUTCOME_DIVERSITY, VALID_PAIRS
from openrlhf_marge.runs.log import TRAIN, Series

TOKENS, DIVERSITY, PAIRS = TRAIN + COMPLETION_TOKENS, TRAIN + OUTCOME_DIVERSITY, TRAIN + VALID_PAIRS


@dataclass(frozen=True, slots=True)
class Found:
    """Sums over everything sampled so far; candidates are no data, so their tokens do not count.

    ``completions`` is 0 where it is not known: from TensorBoard.
    """

    tokens: int
    diversity: float  # of the outcomes of the groups, summed over completions (metrics.outcome_diversity)
    valid_pairs: int
    completions: int

    def __add__(self, other: Found) -> Found:
        return Found(*map(sum, zip(astuple(self), astuple(other), strict=True)))

    @property
    def pair_share(self) -> float | None:
        """Share of the pairs that there would be if half of each group were correct (Prop. C.2)."""
        return 2 * self.valid_pairs / self.completions if self.completions else None


def exploration(run: RunData) -> list[Found]:
    """After every file of the dump, or every logged step; Missing when there is neither."""
    found = [Found(t.tokens, t.diversity, t.valid_pairs, t.completions) for t in run.files] or _of_log(run.series)
    if not found:
        raise Missing(
            f"it has no dump and its TensorBoard log no {DIVERSITY}; run with --experience_maker marge "
            "(--marge.explore vanilla for vanilla exploration) and --marge.dump_dir or --logger.tensorboard_dir"
        )
    return list(accumulate(found))


def _of_log(series: Series) -> list[Found]:
    """With --logger.logging_steps a logged step stands for those before it, too, which were not logged."""
    logged, diversity, pairs = (dict(series.get(tag, ())) for tag in (TOKENS, DIVERSITY, PAIRS))
    steps = sorted(logged.keys() & diversity.keys() & pairs.keys())
    tokens = {step: logged[step] * (step - last) for last, step in pairwise([0, *steps])}
    return [
        Found(round(tokens[step]), diversity[step] * tokens[step] / 1000, round(pairs[step] * tokens[step] / 1000), 0)
        for step in steps
    ]


def figure_5a(runs: Mapping[str, Sequence[Found]]) -> Plot:
    """Diversity of all outcomes so far, and the share of valid pairs among them where a dump tells it.

    The share counts the pairs there are; at equal chances of success larger groups have more of them.
    """
    diversity = [
        Line(name, [Point(f.tokens, f.diversity / 1000) for f in found], color)
        for color, (name, found) in enumerate(runs.items())
    ]
    shares = [
        Line(name, [Point(f.tokens, 100 * f.pair_share) for f in found if f.pair_share is not None], color)
        for color, (name, found) in enumerate(runs.items())
    ]
    x_label = "generated completion tokens"
    panels = [Panel(x_label=x_label, y_label="outcome diversity so far (thousands)", lines=diversity)]
    if known := [line for line in shares if line.points]:
        panels.append(Panel(x_label=x_label, y_label="valid pairs so far (% of possible pairs)", lines=known))
    header = ("run", "generated_tokens", "outcome_diversity", "valid_pairs", "valid_pair_share")
    rows = [(name, f.tokens, f.diversity, f.valid_pairs, f.pair_share) for name, found in runs.items() for f in found]
    return Plot(title="Training data found by exploration", panels=panels, table=CsvTable(header, rows))
