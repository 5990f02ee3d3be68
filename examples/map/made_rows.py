"""What a finished run of the map showed -> its rows."""

from __future__ import annotations

from collections.abc import Sequence

from plans import flags_of
from regimes import Regime
from rows import Row, check_used, here

from openrlhf_marge.compare import Plan, PlannedRun
from openrlhf_marge.compare.evaluations import read_scores
from openrlhf_marge.compare.finished import Finished
from openrlhf_marge.compare.used import mean_share
from openrlhf_marge.runs.progress import ProgressPoint, RunBudget


def rows_of(regime: Regime, plan: Plan, run: PlannedRun, finished: Finished) -> list[Row]:
    """One for each mark that is kept, and one for the end; ValueError where the budget was not used."""
    points, facts = finished.points, here() | {"flags": flags_of(run.method)}
    if points:
        last = points[-1]
        check_used(str(run), last.tokens, regime.tokens)
        facts |= {
            "tokens": last.tokens, "updates": last.updates, "optimizer_steps": last.optimizer_steps,
            "seconds": last.seconds, "entropy": last.entropy,
            "groups_with_signal": mean_share(points, "groups_with_signal"),
            "groups_after_s0": mean_share(points, "groups_after_s0"),
            "curve": " ".join(f"{p.tokens}:{p.pass_rate:.4f}" for p in points if p.pass_rate is not None),
        }  # fmt: skip
    rows = []
    for mark in (*(plan.marks if points else ()), 1.0):
        scores = {metric: s.mean for (_, metric), s in read_scores(plan, run, None if mark == 1 else mark).items()}
        passed = {f"pass_{k}": scores.get(f"pass@{k}") for k in (1, 8, 64)}
        where = {"regime": regime.name, "method": run.method.name, "seed": run.seed, "mark": mark}
        where["used"] = share_used(points, regime.tokens, mark) if points else None
        rows.append(Row(**where, **passed, **facts))
    return rows


def share_used(points: Sequence[ProgressPoint], tokens: int, mark: float) -> float:
    """What the model of a mark has used, as a share of the budget, which updates do not meet exactly."""
    used = points[-1].tokens if mark == 1 else RunBudget("tokens", mark * tokens).used_when_met(points)
    return round(used / tokens, 4)
